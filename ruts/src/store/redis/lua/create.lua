-- Creates a session.
--
-- needs: server_time, epoch_of, read_session, apply_changes, save
-- defines: write_session
--
-- The first argument packs the hash of the secret, the idle time and the absolute time, 0 for none.
-- Then come the principal or '', its assurance, the kinds of the changes as in `apply_changes`, and
-- the changes.
-- Answers `found`, or `exists`.
local function write_session(key, arguments)
  local held = read_session(key, redis.call('HGET', key, '~'))
  if held and not held.is_obsolete then return 'exists' end
  redis.call('DEL', key)
  local secret, idle, absolute = struct.unpack('>c32I6I6', arguments[1])
  local now = server_time()
  local session = {
    key = key, now = now, created = now, issued = now, used = now, ended = 0,
    idle = idle > 0 and now + idle or 0, absolute = absolute > 0 and now + absolute or 0,
    latest = 0, grace = 0, grace_until = 0, signed_in = 0, assurance = 0, epoch = epoch_of(key),
    secret = secret, former = '',
  }
  if arguments[2] ~= '' then
    session.principal, session.assurance = arguments[2], tonumber(arguments[3])
    session.signed_in, session.latest = now, session.absolute
  end
  apply_changes(key, now, arguments[4], arguments, 5)
  save(session)
  return 'found'
end
