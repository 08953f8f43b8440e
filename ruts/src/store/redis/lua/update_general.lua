-- Applies an update of any kind.
--
-- needs: authenticate, replaced, start_grace, extend_idle, rotate, read_field, value_format,
--   remove_fields, apply_changes, save
-- defines: write_session
--
-- The first argument is as in `fast_path`, followed by a letter for each part of the update, in any
-- order. The parts follow:
--   e  precondition: sign as in `compare`, field, value
--   n  renewal: secret, age that the current secret must have, grace period
--   r  rotation: secret
--   i  sign-in: principal, assurance, idle time, absolute time, 1 to keep the fields of a different
--      principal
--   l  lapse of the authentication: assurance
--   o  sign-out
--   d  absolute deadline: time from now, time from creation
--   c  kinds of the changes, as in `apply_changes`
--   x  check only: an update that would apply changes nothing and answers 0
-- Then come the changes. Answers the number that `apply_changes` answers; `not_due` if the secret
-- is too young for a renewal; a list of the current value after a failed precondition; or a
-- refusal.
local function write_session(key, arguments)
  local presented, idle, after = struct.unpack('>c32I6I6', arguments[1])
  local session, refusal = authenticate(key, redis.call('HGET', key, '~'), presented)
  if not session then return refusal end
  local letters = string.sub(arguments[1], 45)
  if session.in_grace and string.find(letters, '[nrilod]') then return replaced(session) end

  local length, with, at = { e = 3, n = 3, r = 1, i = 5, l = 1, o = 0, d = 2, c = 1, x = 0 }, {}, 2
  for letter in string.gmatch(letters, '.') do
    with[letter] = { unpack(arguments, at, at + length[letter] - 1) }
    at = at + length[letter]
  end

  local now, is_changed, refused = session.now, start_grace(session), nil
  if with.n and now - session.issued < tonumber(with.n[2]) then
    refused = 'not_due'
  elseif with.e then
    local held = read_field(key, with.e[2])
    local plain = held
    if held then
      local policy, has_end = value_format(held)
      plain = string.sub(held, 2 + (has_end and 6 or 0) + (policy == 3 and 6 or 0))
    end
    if plain ~= (with.e[1] == '=' and with.e[3]) then refused = { held } end
  end
  if refused then
    if is_changed then save(session) end
    return refused
  end
  if with.x then return 0 end

  is_changed = extend_idle(session, idle, after) or is_changed
  if with.n and rotate(session, with.n[1]) then
    session.grace, session.grace_until = math.max(tonumber(with.n[3]), 1), 0
    is_changed = true
  end
  if with.r then is_changed = rotate(session, with.r[1]) or is_changed end
  if with.i then
    if session.signed_in > 0 and session.principal ~= with.i[1] and with.i[5] == '0' then
      remove_fields(key)
    end
    local until_idle, until_absolute = tonumber(with.i[3]), tonumber(with.i[4])
    session.idle = until_idle > 0 and now + until_idle or 0
    session.absolute = until_absolute > 0 and now + until_absolute or 0
    session.used, session.latest = now, session.absolute
    session.principal, session.assurance, session.signed_in = with.i[1], tonumber(with.i[2]), now
    is_changed = true
  elseif with.l then
    if session.signed_in > 0 then session.assurance = tonumber(with.l[1]) end
    is_changed = true
  elseif with.o then
    session.assurance, session.signed_in = 0, 0
    is_changed = true
  end
  if with.d then
    session.absolute = now + with.d[1]
    if session.latest > 0 then
      session.absolute = math.min(session.absolute, session.latest)
    elseif with.d[2] ~= '0' then
      session.absolute = math.min(session.absolute, session.created + with.d[2])
    end
    is_changed = true
  end
  local found = apply_changes(key, now, with.c and with.c[1] or '', arguments, at)
  if is_changed then save(session) end
  return found
end
