-- Reads a field. Answers false if it is absent.
--
-- needs: is_live
-- defines: read_field
local function read_field(key, name)
  local held = redis.call('HGET', key, name)
  return held and is_live(key, name) and held
end
