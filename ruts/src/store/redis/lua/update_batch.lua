-- Applies the updates of a batch that are on the fast path.
--
-- needs: KEYS, ARGV, compare
-- defines: answers, left
--
-- KEYS are sessions. ARGV[1] holds one-byte numbers: the number of lists, the length of each list,
-- and for each session the index of its list, counted from 1, and the number of its own arguments.
-- ARGV then has the lists, and for each session its secret and its own arguments. A list holds the
-- first argument of `update_general` without the secret, and names of fields. If it has names, the
-- own arguments are the values of these fields. Otherwise, they are all later arguments of
-- `update_general`. Answers in MessagePack: for each session the answer of `update_general`, or
-- `failed` and the error. `left` lists the updates that need the general path: for each, the index
-- of its session and its arguments.
local find, byte, call, read = string.find, string.byte, redis.pcall, struct.unpack
local head, to = ARGV[1], 1
local first, froms, puts, idles, afters, count = {}, {}, {}, {}, {}, byte(ARGV[1])
for i = 1, count do
  local length, put = byte(head, i + 1), {}
  first[i] = ARGV[to + 1]
  -- Index of the first change, if the update only sets fields, perhaps under a precondition.
  froms[i] = #first[i] == 12 and 1 or string.sub(first[i], 13) == 'e' and 4
  idles[i], afters[i] = read('>I6I6', first[i])
  for name = 2, length do put[2 * name - 3] = ARGV[to + name] end
  puts[i], to = put, to + length
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- The hash tag ends at the same position in every key: all keys have the same prefix, and hash tags
-- of the same length.
local tag, epochs = string.find(KEYS[1], '}', 1, true), {}
for i, key in ipairs(KEYS) do epochs[i] = string.sub(key, 1, tag) end
epochs = redis.call('MGET', unpack(epochs))

-- Answers whether the session is on the fast path, see `fast_path`. Here it need not have a
-- deadline.
local function is_on_fast_path(i, list, header, presented)
  if type(header) ~= 'string' or #header ~= 64 or #presented ~= 32 then return false end
  if find(header, presented, 33, true) ~= 33 then return false end
  local flags, ends, absolute, epoch = read('>BxxxxxxxxxxxxxxxxI6I6I3', header)
  local idle, after, counted = idles[list], afters[list], tonumber(epochs[i] or 0)
  return flags <= 1
    and (ends == 0 or ends > now) and (absolute == 0 or absolute > now)
    and (idle == 0 or ends == 0 or after > 0 and idle - (ends - now) < after)
    and counted and epoch == counted % 2 ^ 24
end

local answers, left = {}, {}
for i, key in ipairs(KEYS) do
  local list, others = byte(head, count + 2 * i, count + 2 * i + 1)
  local presented, put = ARGV[to + 1], puts[list]
  if #put > 0 then
    for other = 1, others do put[2 * other] = ARGV[to + 1 + other] end
  else
    put = { unpack(ARGV, to + 2, to + 1 + others) }
  end
  to = to + 1 + others
  local answer, from = false, froms[list]
  if from and is_on_fast_path(i, list, call('HGET', key, '~'), presented) then
    answer = from == 1 or compare(key, put[1], put[2], put[3])
  end
  if answer == true then
    local written = #put >= from and call('HSET', key, unpack(put, from))
    answer = type(written) == 'table' and 'failed ' .. written.err or 0
  elseif not answer then
    left[#left + 1] = { i, { presented .. first[list], unpack(put) } }
  end
  answers[i] = answer or false
end
if #left == 0 then return cmsgpack.pack(answers) end
