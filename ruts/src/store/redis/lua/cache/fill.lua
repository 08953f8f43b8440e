-- Fills a cache entry, if the lease is still valid.
--
-- needs: KEYS, ARGV
--
-- KEYS[1] is the entry, as `entry` describes it. ARGV: the life of the entry, the mark of the
-- lease, the packed moment of the lease with `*` if all fields follow, then names and values. The
-- record is first.
local key = KEYS[1]
local held = redis.call('HMGET', key, '~o', '~')
if held[1] ~= ARGV[2] then return end
local first, record, new = 4, held[2], ARGV[5]
if record and #record >= 70 and string.sub(record, 7, 38) == string.sub(new, 7, 38) then
  local read = struct.unpack
  -- If the cached record has a later idle deadline, the session was touched after this read. Then
  -- the cached record stays.
  local is_later = read('>I6', string.sub(record, 56)) > read('>I6', string.sub(new, 56))
  if is_later and read('>I6', record) > read('>I6', ARGV[3]) then first = 6 end
end
if #ARGV[3] > 6 then
  -- All fields follow, so a field of the entry that is not among them has expired.
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if string.byte(name) ~= 126 then redis.call('HDEL', key, name) end
  end
end
for from = first, #ARGV, 1000 do
  redis.call('HSET', key, unpack(ARGV, from, math.min(from + 999, #ARGV)))
end
if redis.call('PTTL', key) < tonumber(ARGV[1]) then redis.call('PEXPIRE', key, ARGV[1]) end
