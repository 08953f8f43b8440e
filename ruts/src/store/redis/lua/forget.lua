
-- ARGV: principal, packed. Nothing is left of the session.
local session, refusal = owned(base)
if not session then return refusal end
redis.call('DEL', key)
return 'found'
