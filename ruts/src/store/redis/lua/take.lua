
-- ARGV: secret, idle, after, new secret, name. Answer: 'found', the value.
local session, refusal = open()
if not session then return refusal end
local value = get(ARGV[5])
if value then redis.call('HDEL', key, ARGV[5]) end
local changed = touch(session, ARGV[2], ARGV[3])
if rotate(session, ARGV[4]) or changed then save(session) end
return { 'found', value }
