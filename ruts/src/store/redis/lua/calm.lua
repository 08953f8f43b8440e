-- Whether all that `~` says is that the session is live, the secret its own and no use to be noted: most
-- requests find it so. Straight on and without a function, because each that a script defines takes time.
-- ARGV[1] is packed: the hash of the secret presented, or, for who asks in the name of a principal, its key;
-- the idle time to grant, 0 for none, and how much of it must have passed.
local presented, idle, after = struct.unpack('>c32I6I6', ARGV[1])
local now, calm, apart
if base and #base == 64 then
  local flags, created, ends, absolute, epoch, secret = struct.unpack('>BI6xxxxxxxxxxI6I6I3c32', base)
  local over = ends > 0 and (absolute == 0 or ends < absolute) and ends or absolute
  if flags <= 1 and over > 0 and secret == presented then
    local left = redis.call('PTTL', key)
    now = over - left
    calm = left > 0 and (idle == 0 or ends == 0 or after > 0 and idle - (ends - now) < after)
      and epoch == (redis.call('GET', string.match(key, '^[^}]*}')) or 0) % 2 ^ 24
    apart = flags == 1
  end
end
