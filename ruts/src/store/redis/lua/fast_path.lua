-- Decides whether a session is on the fast path. It is on the fast path if all these conditions
-- hold:
--   - The session is live and has a deadline.
--   - The current secret was presented, and this is not the first use of a renewed secret.
--   - No touch is due.
--
-- needs: ARGV, key, header
-- defines: presented, idle, after, now, is_fast, has_extension
--
-- ARGV[1] packs three values:
--   - the hash of the presented secret or, for a read by principal, the principal key
--   - the idle time to grant, 0 for none
--   - the part of the idle time after which a touch is due
-- This file does not define functions, because each definition costs more than a thousand
-- instructions.
local presented, idle, after = struct.unpack('>c32I6I6', ARGV[1])
local now, is_fast, has_extension
if header and #header == 64 then
  local flags, created, ends, absolute, epoch, secret =
    struct.unpack('>BI6xxxxxxxxxxI6I6I3c32', header)
  local deadline = ends > 0 and (absolute == 0 or ends < absolute) and ends or absolute
  if flags <= 1 and deadline > 0 and secret == presented then
    -- The key expires at the deadline, so its TTL tells the current time. PTTL is cheaper than
    -- TIME.
    local left = redis.call('PTTL', key)
    now = deadline - left
    is_fast = left > 0 and (idle == 0 or ends == 0 or after > 0 and idle - (ends - now) < after)
      and epoch == (redis.call('GET', string.match(key, '^[^}]*}')) or 0) % 2 ^ 24
    has_extension = flags == 1
  end
end
