-- Applies a use to a session record in memory: starts the grace period of a former secret, moves
-- the idle deadline. Writes nothing: `save` does.
--
-- defines: start_grace, extend_idle

-- The first use of a renewed secret starts the grace period of the former one. Answers whether this
-- use started it.
local function start_grace(session)
  if session.is_former or session.in_grace or session.grace == 0 or session.grace_until > 0 then return false end
  session.grace_until = session.now + session.grace
  return true
end

-- Moves the idle deadline if enough of the idle time has passed. Answers whether it did.
local function extend_idle(session, idle, after)
  if session.in_grace and not session.is_internal or idle == 0 or session.idle == 0 then return false end
  if math.max(idle - (session.idle - session.now), 0) < after then return false end
  session.idle, session.used = session.now + idle, session.now
  return true
end
