-- Reads the record of a session.
--
-- defines: HEADER, EXTENSION, NO_HASH, server_time, epoch_of, deadline_of, read_session
--
-- All moments are milliseconds. A missing moment is 0.
--
-- The header is the field `~`. It has 64 bytes, the length of the longest value that a server
-- stores in its compact encoding:
--   - flags: 1 there is an extension, 2 ended, 4 a renewed secret has not been used, 8 revoked
--   - created
--   - secret issued, last used: both relative to `created`
--   - idle deadline, absolute deadline
--   - epoch
--   - hash of the secret
-- The extension is the field `~x`. It holds rarely used attributes:
--   - ended
--   - latest absolute deadline that a sign-in allows
--   - grace period of the former secret, and the end of the period: 0 until the new secret is used
--   - signed in, assurance, principal key
-- The field `~r` holds the hash of the former secret.
--
-- The epoch is a counter for all sessions of one hash tag. A session with a different epoch has
-- ended.
local HEADER, EXTENSION = '>BI6I5I5I6I6I3c32', '>I6I6I6I6I6Bc32'
local NO_HASH = string.rep('\0', 32)

local function server_time()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function epoch_of(key)
  return (redis.call('GET', string.match(key, '^[^}]*}')) or 0) % 2 ^ 24
end

local function deadline_of(session)
  if session.idle > 0 and (session.absolute == 0 or session.idle < session.absolute) then
    return session.idle
  end
  return session.absolute
end

-- Answers the session of a header, if its deadline has not passed. `is_revoked`: it was revoked.
-- `is_obsolete`: it was revoked together with all other sessions, by a new epoch.
local function read_session(key, header)
  if not header then return nil end
  local has_extension, extension, former = (string.byte(header) or 0) % 2 == 1, nil, nil
  if has_extension then
    local held = redis.call('HMGET', key, '~x', '~r')
    extension, former = held[1], held[2]
  end
  if #header ~= 64
    or has_extension and (not extension or #extension ~= 63 or #(former or NO_HASH) ~= 32) then
    error({ err = 'CORRUPT the fields ~, ~x and ~r do not describe a session' })
  end
  local session = {
    key = key, ended = 0, latest = 0, grace = 0, grace_until = 0, signed_in = 0, assurance = 0,
    former = '',
  }
  local flags, created, issued, used
  flags, created, issued, used, session.idle, session.absolute, session.epoch, session.secret =
    struct.unpack(HEADER, header)
  session.is_revoked = flags >= 8
  session.created, session.issued, session.used = created, created + issued, created + used
  if has_extension then
    session.ended, session.latest, session.grace, session.grace_until, session.signed_in,
      session.assurance, session.principal = struct.unpack(EXTENSION, extension)
    session.former, session.extension = former or '', extension
  end
  -- The key expires at the deadline, so its TTL tells the current time. PTTL is cheaper than TIME.
  local deadline, left = deadline_of(session), redis.call('PTTL', key)
  local now = deadline > 0 and left >= 0 and deadline - left or server_time()
  if deadline > 0 and now >= deadline then return nil end
  session.now = now
  if session.epoch ~= epoch_of(key) then
    session.is_revoked, session.is_obsolete, session.ended = true, true, now
  end
  return session
end
