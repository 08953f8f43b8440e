
-- Answer: `~`, `~x`, the values, the moment.
local function at_once(i, list, key, from)
  local held = redis.pcall('HMGET', key, '~', '~x', unpack(lists[list]))
  if not is_calm(i, list, held[1], ARGV[from]) then return nil end
  held[#held + 1] = now
  return held
end
