-- Looks up several cache entries.
--
-- needs: KEYS, ARGV, server, history, look_up
--
-- KEYS are entries. ARGV[1] holds one-byte numbers: the number of lists, the length of each list,
-- and for each entry the index of its list, counted from 1. ARGV[2] is the nonce. ARGV[3] is
-- the number of bytes after which the script reads no more entries. The lists follow, each with the
-- request of `look_up` without the secret, and the names of fields; then the secret of each entry.
-- Answers in MessagePack: for each entry the answer of `look_up`. If the lookup failed, or if
-- enough bytes had been read before it, the answer is false.
local head, room, to = ARGV[1], tonumber(ARGV[3]), 3
local count, requests, names = string.byte(head), {}, {}
for i = 1, count do
  local length = string.byte(head, 1 + i)
  requests[i], names[i] = ARGV[to + 1], { unpack(ARGV, to + 2, to + length) }
  to = to + length
end
-- The hash tag ends at the same position in every key: all keys have the same prefix, and hash tags
-- of the same length.
local tag, since, answers = string.find(KEYS[1], '}', 1, true), {}, {}
for i, key in ipairs(KEYS) do since[i] = string.sub(key, 1, tag) .. ':hot' end
since = redis.call('MGET', unpack(since))
local function one(i, key)
  local list = string.byte(head, 1 + count + i)
  local here = since[i] and server .. '.' .. since[i] or history(key)
  return look_up(key, here, ARGV[to + i] .. requests[list], names[list])
end
for i, key in ipairs(KEYS) do
  local is_done, answer
  if room > 0 then is_done, answer = pcall(one, i, key) end
  answers[i] = is_done and answer or false
  for at = 1, is_done and #answer or 0 do
    local value = answer[at]
    if type(value) == 'string' then room = room - #value end
  end
end
return cmsgpack.pack(answers)
