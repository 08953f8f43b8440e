-- Ends a session of a principal. Nothing is left of it.
--
-- needs: KEYS, ARGV, find_owned
--
-- KEYS[1] is the session. ARGV[1] begins with the principal key. Answers `found`, or `none`.
local key = KEYS[1]
local session = find_owned(key, redis.call('HGET', key, '~'), string.sub(ARGV[1], 1, 32))
if not session then return 'none' end
redis.call('DEL', key)
return 'found'
