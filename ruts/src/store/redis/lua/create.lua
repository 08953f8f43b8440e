
-- ARGV: secret, idle, absolute, then name, value, ttl of each field.
if read() then return { 'exists' } end
redis.call('DEL', key)
for i = 4, #ARGV, 3 do
  set(ARGV[i], ARGV[i + 1], ARGV[i + 2])
end
save({
  created = now, rotated = now, idle = from_now(ARGV[2]), absolute = from_now(ARGV[3]), ended = 0,
  secret = secret, replaced = '',
})
return { 'found' }
