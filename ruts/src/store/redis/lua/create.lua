
-- ARGV: secret, idle, absolute, principal or '', assurance, then name, value, ttl of each field.
if read() then return { 'exists' } end
redis.call('DEL', key)
for i = 6, #ARGV, 3 do
  set(ARGV[i], ARGV[i + 1], ARGV[i + 2])
end
local session = {
  created = now, rotated = now, used = now, idle = from_now(ARGV[2]), absolute = from_now(ARGV[3]),
  ended = 0, latest = 0, grace = 0, till = now, signed = 0, level = 0, epoch = epoch(),
  secret = presented, replaced = '', principal = '',
}
if ARGV[4] ~= '' then sign_in(session, ARGV[4], ARGV[5]) end
save(session)
return { 'found' }
