
-- ARGV: secret, for how long to remember it.
local session, refusal = open()
if not session then return refusal end
redis.call('DEL', key)
session.ended, session.idle, session.absolute = now, 0, from_now(ARGV[2])
save(session)
return { 'found' }
