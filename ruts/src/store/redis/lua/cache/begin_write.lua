-- Registers a write intent.
--
-- needs: ARGV, key, now, mark, history, other_intents
--
-- ARGV[1] packs the idle time to grant (0 for none), the part of it after which a touch is due, and
-- `*` if the whole entry becomes invalid. Then come the nonce, the life of the intent and the life
-- of the entry. The names of the fields that become invalid follow, and `~` if the record becomes
-- invalid too. Answers the mark of the intent and the server's time.
--
-- An entry keeps at most 16 other intents. If there are more, they are merged into one, which no
-- write owns and which expires with the last of them. The finishes of these writes do not find
-- their intents, so they empty the entry.
local idle, after = struct.unpack('>I6I6', ARGV[1])
local here = history(key)
local held = redis.call('HMGET', key, '~r', '~', '~f')
local others, life, count, _ = '', 0, 0, nil
if held[1] == here then others, life, _, count = other_intents(held[3]) end
if count > 16 then others = string.format('* %.0f +;', now + life) end
life = math.max(life, tonumber(ARGV[4]))

if #ARGV[1] > 12 or held[1] and held[1] ~= here then
  redis.call('DEL', key)
elseif held[1] then
  local record = held[2]
  if record and idle > 0 then
    local ends = #record >= 70 and struct.unpack('>I6', string.sub(record, 56)) or now
    if ends > 0 and (after == 0 or idle - (ends - now) >= after) then
      redis.call('HDEL', key, '~')
    end
  end
  redis.call('HDEL', key, '~o', '~c', unpack(ARGV, 5, math.min(#ARGV, 1004)))
  for from = 1005, #ARGV, 1000 do
    redis.call('HDEL', key, unpack(ARGV, from, math.min(from + 999, #ARGV)))
  end
end

local intent = string.format('%s %.0f %s;', mark, now + ARGV[3], others == '' and '' or '+')
redis.call('HSET', key, '~r', here, '~f', others .. intent)
if redis.call('PTTL', key) < life then redis.call('PEXPIRE', key, string.format('%.0f', life)) end
return { mark, now }
