-- Takes a field: removes it and answers its value.
--
-- needs: KEYS, ARGV, authenticate, replaced, read_field, start_grace, extend_idle, rotate, save
--
-- KEYS[1] is the session. ARGV: the first argument as in `fast_path`, the new secret or '', the
-- field, `out` to sign out or ''. Answers a list of the value, or a refusal.
local key = KEYS[1]
local presented, idle, after = struct.unpack('>c32I6I6', ARGV[1])
local session, refusal = authenticate(key, redis.call('HGET', key, '~'), presented)
if not session then return refusal end
if session.in_grace and (ARGV[2] ~= '' or ARGV[4] ~= '') then return replaced(session) end
local value = read_field(key, ARGV[3])
if value then redis.call('HDEL', key, ARGV[3]) end
local is_changed = start_grace(session)
is_changed = extend_idle(session, idle, after) or is_changed
if ARGV[2] ~= '' then is_changed = rotate(session, ARGV[2]) or is_changed end
if ARGV[4] ~= '' then
  session.assurance, session.signed_in = 0, 0
  is_changed = true
end
if is_changed then save(session) end
return { value }
