-- Writes the record of a session back.
--
-- needs: HEADER, EXTENSION, NO_HASH, deadline_of
-- defines: save

-- Answers the header. `save` has to be the last write, because the server removes a key whose
-- deadline has passed.
local function save(session)
  local key, created = session.key, session.created
  local has_extension = session.extension or session.ended > 0 or session.signed_in > 0
    or session.former ~= ''
  local flags = (has_extension and 1 or 0) + (session.ended > 0 and 2 or 0)
    + (session.grace > 0 and session.grace_until == 0 and 4 or 0) + (session.is_revoked and 8 or 0)
  local issued = math.min(math.max(session.issued - created, 0), 2 ^ 40 - 1)
  local used = math.min(math.max(session.used - created, 0), 2 ^ 40 - 1)
  local header = struct.pack(HEADER, flags, created, issued, used, session.idle, session.absolute,
    session.epoch, session.secret)
  if has_extension then
    session.extension = struct.pack(EXTENSION, session.ended, session.latest, session.grace,
      session.grace_until, session.signed_in, session.assurance,
      session.signed_in > 0 and session.principal or NO_HASH)
    redis.call('HSET', key, '~', header, '~x', session.extension)
    if session.former ~= '' then redis.call('HSET', key, '~r', session.former) end
  else
    redis.call('HSET', key, '~', header)
  end
  local deadline = deadline_of(session)
  if deadline > 0 then
    redis.call('PEXPIREAT', key, string.format('%.0f', deadline))
  else
    redis.call('PERSIST', key)
  end
  return header
end
