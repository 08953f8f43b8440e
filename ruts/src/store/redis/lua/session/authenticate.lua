-- Opens a session with a secret.
--
-- needs: NO_HASH, read_session
-- defines: replaced, authenticate

-- The refusal of a former secret: the time since it last opened the session.
local function replaced(session)
  local since = session.grace_until > 0 and session.grace_until or session.now
  return string.format('replaced %.0f', math.max(session.now - since, 0))
end

-- Answers the live session that the secret opens; or nil and a refusal. `is_former` tells that a
-- former secret opened it, `in_grace` that the current one was used since. NO_HASH, which is the
-- hash of no secret, stands for the process itself: `is_internal`. It has the rights of a secret in its
-- grace period, and may count as a use.
local function authenticate(key, header, presented)
  local session = read_session(key, header)
  if not session then return nil, 'none' end
  session.presented = presented
  if presented == NO_HASH then
    session.in_grace, session.is_internal = true, true
  elseif session.secret ~= presented then
    if session.former ~= presented then return nil, 'none' end
    session.is_former = true
    session.in_grace = session.grace_until > 0 and not session.is_revoked
    if session.in_grace and session.now >= session.grace_until then
      return nil, replaced(session)
    end
  end
  if session.is_revoked then return nil, 'revoked' end
  if session.ended > 0 then
    return nil, string.format('ended %.0f', math.max(session.now - session.ended, 0))
  end
  return session
end
