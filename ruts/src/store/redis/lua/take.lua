-- Takes a field: removes it and answers its value.
--
-- needs: KEYS, ARGV, authenticate, replaced, read_field, value_format, start_grace, extend_idle, rotate, save
--
-- KEYS[1] is the session. ARGV: the first argument as in `fast_path`, the new secret or '', the
-- field, `out` to sign out or '', the highest version of a value to remove or ''. Answers a
-- refusal, or a list of the value. The list is empty if the field is absent.
local key = KEYS[1]
local presented, idle, after = struct.unpack('>c32I6I6', ARGV[1])
local session, refusal = authenticate(key, redis.call('HGET', key, '~'), presented)
if not session then return refusal end
if session.in_grace and (ARGV[2] ~= '' or ARGV[4] ~= '') then return replaced(session) end
local value = read_field(key, ARGV[3])
local stays = false
if value and ARGV[5] ~= '' then
  local policy, has_end = value_format(value)
  local from = 4 + (has_end and 6 or 0) + (policy == 3 and 6 or 0)
  local high, low = string.byte(value, from, from + 1)
  stays = low ~= nil and high * 256 + low > tonumber(ARGV[5])
end
if value and not stays then redis.call('HDEL', key, ARGV[3]) end
local is_changed = start_grace(session)
is_changed = extend_idle(session, idle, after) or is_changed
if ARGV[2] ~= '' then is_changed = rotate(session, ARGV[2]) or is_changed end
if ARGV[4] ~= '' then
  session.assurance, session.signed_in = 0, 0
  is_changed = true
end
if is_changed then save(session) end
return { value }
