-- Reads fields of several sessions, and leaves the decision about each to the caller.
--
-- needs: KEYS, ARGV
--
-- KEYS are sessions. ARGV[1] holds one-byte numbers: the number of lists of fields, the length of
-- each list, and for each session the index of its list, counted from 1. ARGV[2] is the number of
-- bytes after which no more sessions are read. The lists follow. Answers in MessagePack: the
-- server's time, the epochs, and an item for each session. The item is a list of the header, the
-- extension and the values. If the read failed, or if enough bytes had been read before it, the
-- item is false.
local byte, sub, get = string.byte, string.sub, redis.pcall
local head, room, to, lists = ARGV[1], tonumber(ARGV[2]), 2, {}
local count = byte(head)
for i = 1, count do
  local length = byte(head, 1 + i)
  lists[i] = { unpack(ARGV, to + 1, to + length) }
  to = to + length
end
local time = redis.call('TIME')
-- The hash tag ends at the same position in every key: all keys have the same prefix, and hash tags
-- of the same length.
local tag = string.find(KEYS[1], '}', 1, true)
local answer, epochs = { time[1] * 1000 + math.floor(time[2] / 1000) }, {}
for i, key in ipairs(KEYS) do
  epochs[i] = sub(key, 1, tag)
  local values = room > 0 and get('HMGET', key, '~', '~x', unpack(lists[byte(head, 1 + count + i)]))
  if values and values.err then values = false end
  for at = 1, values and #values or 0 do
    local value = values[at]
    if value then room = room - #value end
  end
  answer[2 + i] = values
end
answer[2] = redis.call('MGET', unpack(epochs))
return cmsgpack.pack(answer)
