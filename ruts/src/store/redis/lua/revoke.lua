-- Ends sessions of a principal. The record stays until the deadline of the session, but for no
-- longer than the retention, so that its secrets are recognised. The fields are removed.
--
-- needs: KEYS, ARGV, find_owned, deadline_of, save
--
-- KEYS are the sessions. ARGV[1] packs the principal key and the retention. Answers, for each
-- session, 1 if the script ended it, else 0.
local principal, retention = struct.unpack('>c32I6', ARGV[1])
local answer = {}
for i, key in ipairs(KEYS) do
  local session = find_owned(key, redis.call('HGET', key, '~'), principal)
  if session then
    local deadline, longest = deadline_of(session), session.now + retention
    redis.call('DEL', key)
    session.ended, session.is_revoked, session.idle = session.now, true, 0
    session.absolute = deadline > 0 and math.min(deadline, longest) or longest
    session.assurance, session.signed_in = 0, 0
    save(session)
  end
  answer[i] = session and 1 or 0
end
return answer
