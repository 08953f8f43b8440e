
-- ARGV: life of the entry, ticket, its moment, for how long it is complete or '', then of the session's
-- record: life, age, age of the secret, time since the last use, idle left, absolute left (-1: none), time
-- since the sign-in (-1: nobody), assurance, principal, secret; then four of each field.
if redis.call('HGET', key, '~o') ~= ARGV[2] then return end
local at = ARGV[3]

local function moment(left)
  return left == '-1' and '0' or text(at + left)
end

redis.call('HSET', key, '~', table.concat({
  text(at + ARGV[5]), text(at - ARGV[6]), text(at - ARGV[7]), text(at - ARGV[8]), moment(ARGV[9]),
  moment(ARGV[10]), ARGV[11] == '-1' and '0' or text(at - ARGV[11]), ARGV[12], ARGV[14] .. ARGV[13],
}, ' '))
if ARGV[4] ~= '' then
  -- What else is held is over, or is among what follows.
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if string.byte(name) ~= 126 then redis.call('HDEL', key, name) end
  end
  redis.call('HSET', key, '~c', text(at + ARGV[4]))
end
put(at, 15)
keep(ARGV[1])
