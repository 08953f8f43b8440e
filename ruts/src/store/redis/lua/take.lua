
-- ARGV: what `calm` says, new secret or '', name, 'out' to sign out. Answer, in a list: the value.
local session, refusal = open(base)
if not session then return refusal end
if session.late and (ARGV[2] ~= '' or ARGV[4] ~= '') then return replaced(session) end
local value = get(ARGV[3])
if value then redis.call('HDEL', key, ARGV[3]) end
local changed = confirm(session)
changed = touch(session) or changed
if ARGV[2] ~= '' then changed = rotate(session, ARGV[2]) or changed end
if ARGV[4] ~= '' then
  sign_out(session)
  changed = true
end
if changed then save(session) end
return { value }
