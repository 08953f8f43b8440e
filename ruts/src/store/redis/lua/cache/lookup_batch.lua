
-- KEYS are entries. ARGV[1] is all bytes: how many lists there are, how many arguments are in each, and which
-- list each entry's is, the first being 1. ARGV[2] is the nonce, ARGV[3] how many bytes are to be read. Then come
-- the lists, of which the first argument is what is asked without the secret, and the others are the names; then
-- the secret of each.
-- Answer, packed: of each what it would get alone, or nothing if that went wrong or there was enough before.
local head, room, to = ARGV[1], tonumber(ARGV[3]), 3
local count, asked, names = string.byte(head), {}, {}
for i = 1, count do
  local length = string.byte(head, 1 + i)
  asked[i], names[i] = ARGV[to + 1], { unpack(ARGV, to + 2, to + length) }
  to = to + length
end
-- All keys begin alike, and hash tags are of one length.
local tag, since, answers = string.find(KEYS[1], '}', 1, true), {}, {}
for i, key in ipairs(KEYS) do since[i] = string.sub(key, 1, tag) .. ':hot' end
since = redis.call('MGET', unpack(since))
local function one(i, key)
  local list = string.byte(head, 1 + count + i)
  local here = since[i] and server .. '.' .. since[i] or history(key)
  return look_at(key, here, ARGV[to + i] .. asked[list], names[list])
end
for i, key in ipairs(KEYS) do
  local went, answer
  if room > 0 then went, answer = pcall(one, i, key) end
  answers[i] = went and answer or false
  for at = 1, went and #answer or 0 do
    local value = answer[at]
    if type(value) == 'string' then room = room - #value end
  end
end
return cmsgpack.pack(answers)
