-- Reads the header, the extension and the requested fields of a session.
--
-- needs: KEYS, ARGV
-- defines: key, values, header, extension
--
-- KEYS[1] is the key of the session. ARGV[2] and later are names of fields. `header` is the field
-- `~`, `extension` the field `~x`. `values` holds the header and the values of the fields.
local key = KEYS[1]
-- `unpack` takes a few thousand values at most, so more than 1000 fields are read in parts.
local values = redis.call('HMGET', key, '~', '~x', unpack(ARGV, 2, math.min(#ARGV, 1001)))
local extension = table.remove(values, 2)
for from = 1002, #ARGV, 1000 do
  local others = redis.call('HMGET', key, unpack(ARGV, from, math.min(from + 999, #ARGV)))
  for _, value in ipairs(others) do values[#values + 1] = value end
end
local header = values[1]
