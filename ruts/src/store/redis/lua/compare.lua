-- Whether a field holds what is expected of it ('-' nothing, '=' the value); or, in a list, what is there
-- instead; or nil if that takes a closer look, because the value has an end or is none.
local function compare(key, sign, name, value)
  local held = redis.call('HGET', key, name)
  local flags = held and (string.byte(held) or 0) - 48
  if held and (flags < 0 or flags > 3) then return nil end
  local plain = held and string.sub(held, flags == 3 and 8 or 2)
  if plain == (sign == '=' and value) then return true end
  return { held }
end

