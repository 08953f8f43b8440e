
-- `here` is the history of the entry; `asked` is packed: the hash of the secret presented, the idle time to grant,
-- 0 for none, how much of it must have passed, and `*` if all fields are asked for. Answer: the moment and the
-- record, then the values, or names and values of all; or nothing, and if there is one a ticket and the moment.
local read, moment = struct.unpack, struct.pack('>I6', now)

local function look_at(key, here, asked, names)
  local presented, idle, after = read('>c32I6I6', asked)
  local held = redis.call('HMGET', key, '~r', '~', unpack(names, 1, math.min(#names, 1000)))
  for from = 1001, #names, 1000 do
    local others = redis.call('HMGET', key, unpack(names, from, math.min(from + 999, #names)))
    for _, value in ipairs(others) do held[#held + 1] = value end
  end
  if held[1] and held[1] ~= here then
    redis.call('DEL', key)
    held = {}
  end

  local session = held[2]
  if session and #session >= 70 then
    local till, secret, ends = read('>I6c32xxxxxxxxxxxxxxxxxI6', session)
    local hit = till > now and secret == presented
      and (idle == 0 or ends == 0 or after > 0 and idle - (ends - now) < after)
    local answer = { moment .. string.sub(session, 39) }
    if hit and #asked > 44 then
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

  local ticket, fences = unpack(held[1] and redis.call('HMGET', key, '~o', '~f') or {})
  for till in string.gmatch(fences or '', ' (%d+) %+?;') do
    if tonumber(till) > now then return { '' } end
  end
  if not ticket then
    ticket = mark
    local written = redis.pcall('HSET', key, '~r', here, '~o', ticket)
    -- A server without room hands out no tickets.
    if type(written) == 'table' then return { '' } end
    -- If it is all there is of an entry, it is kept as long as a read may take.
    if redis.call('PTTL', key) < 15000 then redis.call('PEXPIRE', key, 15000) end
  end
  return { '', ticket, now }
end
