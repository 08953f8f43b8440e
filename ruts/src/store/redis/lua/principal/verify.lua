
-- ARGV: handle, mark, for how long it stays listed. Answer: whether the sign-in still stands. From now on
-- the entry is over once the session is.
local _, marks = parts(redis.call('HGET', key, ARGV[1]) or '')
if not strike(marks, ARGV[2]) then return 0 end
redis.call('HSET', key, ARGV[1], entry_of(now, '+', marks))
if ARGV[3] ~= '0' then redis.call('HPEXPIRE', key, ARGV[3], 'FIELDS', 1, ARGV[1]) end
return 1
