
-- ARGV: secret, idle, after, new secret, name, 'out' to sign out. Answer: 'found', the value.
local session, refusal = open()
if not session then return refusal end
if session.late and (ARGV[4] ~= '' or ARGV[6] ~= '') then return replaced(session) end
local value = get(ARGV[5])
if value then redis.call('HDEL', key, ARGV[5]) end
local changed = confirm(session)
changed = touch(session, ARGV[2], ARGV[3]) or changed
changed = rotate(session, ARGV[4]) or changed
if ARGV[6] ~= '' then
  sign_out(session)
  changed = true
end
if changed then save(session) end
return { 'found', value }
