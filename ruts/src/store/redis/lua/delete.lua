
-- ARGV: secret, for how long to remember it.
local session, refusal = open()
if not session then return refusal end
finish(session, ARGV[2])
return { 'found' }
