-- KEYS are sessions. ARGV[1] is all bytes: how many lists of fields there are, how many fields are in each, and
-- which list each session's is, the first being 1. ARGV[2] is how many bytes are to be read. The lists follow.
-- Answer, packed: the moment, the epochs, and of each session `~`, `~x` and the values, or nothing if that went
-- wrong or there was enough before. Whoever asked makes sure that all is calm.
local byte, sub, get = string.byte, string.sub, redis.pcall
local head, room, to, lists = ARGV[1], tonumber(ARGV[2]), 2, {}
local count = byte(head)
for i = 1, count do
  local length = byte(head, 1 + i)
  lists[i] = { unpack(ARGV, to + 1, to + length) }
  to = to + length
end
local time = redis.call('TIME')
-- All keys begin alike, and hash tags are of one length.
local tag = string.find(KEYS[1], '}', 1, true)
local answer, epochs = { time[1] * 1000 + math.floor(time[2] / 1000) }, {}
for i, key in ipairs(KEYS) do
  epochs[i] = sub(key, 1, tag)
  local held = room > 0 and get('HMGET', key, '~', '~x', unpack(lists[byte(head, 1 + count + i)]))
  if held and held.err then held = false end
  for at = 1, held and #held or 0 do
    local value = held[at]
    if value then room = room - #value end
  end
  answer[2 + i] = held
end
answer[2] = redis.call('MGET', unpack(epochs))
return cmsgpack.pack(answer)
