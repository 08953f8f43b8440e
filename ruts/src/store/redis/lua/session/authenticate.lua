-- Authenticates a request by the secret of a session.
--
-- needs: NO_HASH, read_session
-- defines: replaced, authenticate

-- Answers the refusal of a former secret, with the time since it became invalid.
local function replaced(session)
  local since = session.grace_until > 0 and session.grace_until
    or session.grace == 0 and session.issued or session.now
  return string.format('replaced %.0f', math.max(session.now - since, 0))
end

-- Answers the live session of a secret; or nil and a refusal. `is_former`: the former secret was
-- presented. `in_grace`: it was presented in its grace period, because the renewed secret has been
-- used. NO_HASH, which is the hash of no secret, stands for internal credentials: `is_internal`.
-- They have the rights of a former secret in its grace period, and may touch the session.
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
    -- Without a grace period, no moment is compared: if the clock stepped back, a past moment would
    -- be in the future again.
    local is_over = session.grace == 0 or session.in_grace and session.now >= session.grace_until
    if is_over and not session.is_revoked then return nil, replaced(session) end
  end
  if session.is_revoked then return nil, 'revoked' end
  if session.ended > 0 then
    return nil, string.format('deleted %.0f', math.max(session.now - session.ended, 0))
  end
  return session
end
