
-- ARGV: secret and for how long to remember it, packed.
local session, refusal = open(base)
if not session then return refusal end
finish(session, idle)
return 'found'
