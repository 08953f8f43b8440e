-- Looks up a cache entry.
--
-- needs: now, mark
-- defines: look_up
local read, moment = struct.unpack, struct.pack('>I6', now)

-- `here` is the current history of the key. `request` packs the hash of the presented secret, the
-- idle time to grant (0 for none), the part of it after which a touch is due, and `*` for all
-- fields. For a hit, the first item of the answer is the server's time and the record. Then come
-- the values of the named fields, or the names and values of all fields. For a miss, the first item
-- is ''. Then come the mark of a lease and the server's time, unless there is a write intent or the
-- server is out of memory.
local function look_up(key, here, request, names)
  local presented, idle, after = read('>c32I6I6', request)
  local held = redis.call('HMGET', key, '~r', '~', unpack(names, 1, math.min(#names, 1000)))
  for from = 1001, #names, 1000 do
    local others = redis.call('HMGET', key, unpack(names, from, math.min(from + 999, #names)))
    for _, value in ipairs(others) do held[#held + 1] = value end
  end
  if held[1] and held[1] ~= here then
    redis.call('DEL', key)
    held = {}
  end

  local record = held[2]
  if record and #record >= 70 then
    local served_until, secret, ends = read('>I6c32xxxxxxxxxxxxxxxxxI6', record)
    local hit = served_until > now and secret == presented
      and (idle == 0 or ends == 0 or after > 0 and idle - (ends - now) < after)
    local answer = { moment .. string.sub(record, 39) }
    if hit and #request > 44 then
      local complete = redis.call('HGET', key, '~c')
      hit = complete and read('>I6', complete) > now
      local entry = hit and redis.call('HGETALL', key) or {}
      for i = 1, #entry, 2 do
        if string.byte(entry[i]) ~= 126 then
          answer[#answer + 1], answer[#answer + 2] = entry[i], entry[i + 1]
          hit = hit and #entry[i + 1] >= 6 and read('>I6', entry[i + 1]) > now
        end
      end
    elseif hit then
      for i = 3, #held do
        local value = held[i]
        hit = hit and value and #value >= 6 and read('>I6', value) > now
        answer[i - 1] = value
      end
    end
    if hit then return answer end
  end

  local lease, intents = unpack(held[1] and redis.call('HMGET', key, '~o', '~f') or {})
  for lapses in string.gmatch(intents or '', ' (%d+) %+?;') do
    if tonumber(lapses) > now then return { '' } end
  end
  if not lease then
    lease = mark
    local written = redis.pcall('HSET', key, '~r', here, '~o', lease)
    -- The write failed, perhaps because the server is out of memory. Then there is no lease.
    if type(written) == 'table' then return { '' } end
    -- An entry is kept for at least 15 seconds after the lease was granted. A slower read may find
    -- the lease gone, and then does not fill the entry.
    if redis.call('PTTL', key) < 15000 then redis.call('PEXPIRE', key, 15000) end
  end
  return { '', lease, now }
end
