
-- ARGV: secret or principal, '@' if it is a principal, for how long to remember the secret.
local session, refusal = (ARGV[2] == '@' and owned or open)()
if not session then return refusal end
finish(session, ARGV[3])
return { 'found' }
