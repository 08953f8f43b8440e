-- Replaces the secret of a session.
--
-- defines: rotate

-- Answers false if `secret` is the current secret already, else true.
local function rotate(session, secret)
  if secret == session.secret then return false end
  session.former, session.secret, session.issued = session.presented, secret, session.now
  session.grace, session.grace_until = 0, 0
  return true
end
