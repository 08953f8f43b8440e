
-- ARGV: principal. Nothing is left of the session.
local session, refusal = owned()
if not session then return refusal end
redis.call('DEL', key)
return { 'found' }
