-- Compares a field with a precondition. Reads one field, and writes nothing.
--
-- defines: compare
--
-- `sign` is `=` if the field must hold `value`, `-` if the field must be absent. Answers true if
-- the precondition holds, else a list with only the current value. Answers nil if the current value
-- has a TTL or an unknown format, which only the general path handles.
local function compare(key, sign, name, value)
  local held = redis.call('HGET', key, name)
  local flags = held and (string.byte(held) or 0) - 48
  if held and (flags < 0 or flags > 3) then return nil end
  local plain = held and string.sub(held, flags == 3 and 8 or 2)
  if plain == (sign == '=' and value) then return true end
  return { held }
end
