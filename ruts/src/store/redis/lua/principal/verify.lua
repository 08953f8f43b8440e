
-- ARGV: handle, entry. Answer: whether it still stands. From now on it is over once the session is.
if redis.call('HGET', key, ARGV[1]) ~= ARGV[2] then return 0 end
replace(ARGV[1], ARGV[2] .. ' +')
return 1
