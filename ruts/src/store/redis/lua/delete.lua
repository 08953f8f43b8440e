-- Ends a session with its own secret.
--
-- needs: KEYS, ARGV, authenticate, save
--
-- KEYS[1] is the session. ARGV[1] packs the hash of the secret and the time for which it is
-- recognised afterwards. Answers `found`, or a refusal.
local key = KEYS[1]
local presented, retention = struct.unpack('>c32I6', ARGV[1])
local session, refusal = authenticate(key, redis.call('HGET', key, '~'), presented)
if not session then return refusal end
redis.call('DEL', key)
session.ended, session.idle, session.absolute = session.now, 0, session.now + retention
session.assurance, session.signed_in = 0, 0
save(session)
return 'found'
