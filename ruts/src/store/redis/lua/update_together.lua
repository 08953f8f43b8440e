
-- KEYS are sessions. ARGV[1] is all bytes: how many lists there are, and how many arguments are in each; then
-- for each session which list is its own, the first being 1, and how many other arguments it has. The lists
-- follow, and then the arguments of each. The first argument for a session is what its own arguments and its
-- list begin with, one after the other; its others come next, or, if more is in the list, a name of these before
-- each.
-- Answer, packed: of each what it would get alone, or `failed` and why.
local find, byte, call, read = string.find, string.byte, redis.pcall, struct.unpack
local head, to = ARGV[1], 1
local first, froms, puts, idles, afters, count = {}, {}, {}, {}, {}, byte(ARGV[1])
for i = 1, count do
  local length, put = byte(head, i + 1), {}
  first[i] = ARGV[to + 1]
  -- Where what it sets begins, if there is no more to it than that, or than to expect something.
  froms[i] = #first[i] == 12 and 1 or string.sub(first[i], 13) == 'e' and 4
  idles[i], afters[i] = read('>I6I6', first[i])
  for name = 2, length do put[2 * name - 3] = ARGV[to + name] end
  puts[i], to = put, to + length
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- All keys begin alike, and hash tags are of one length.
local tag, epochs = string.find(KEYS[1], '}', 1, true), {}
for i, key in ipairs(KEYS) do epochs[i] = string.sub(key, 1, tag) end
epochs = redis.call('MGET', unpack(epochs))

-- Whether there is nothing to do but what was asked for, as `calm` has it.
local function is_calm(i, list, base, presented)
  if type(base) ~= 'string' or #base ~= 64 or #presented ~= 32 then return false end
  if find(base, presented, 33, true) ~= 33 then return false end
  local flags, ends, absolute, epoch = read('>BxxxxxxxxxxxxxxxxI6I6I3', base)
  local idle, after, counted = idles[list], afters[list], tonumber(epochs[i] or 0)
  return flags <= 1
    and (ends == 0 or ends > now) and (absolute == 0 or absolute > now)
    and (idle == 0 or ends == 0 or after > 0 and idle - (ends - now) < after)
    and counted and epoch == counted % 2 ^ 24
end

local answers = {}
for i, key in ipairs(KEYS) do
  local list, others = byte(head, count + 2 * i, count + 2 * i + 1)
  local presented, put = ARGV[to + 1], puts[list]
  if #put > 0 then
    for other = 1, others do put[2 * other] = ARGV[to + 1 + other] end
  else
    put = { unpack(ARGV, to + 2, to + 1 + others) }
  end
  to = to + 1 + others
  local answer, from = nil, froms[list]
  if from and is_calm(i, list, call('HGET', key, '~'), presented) then
    answer = from == 1 or compare(key, put[1], put[2], put[3])
  end
  if answer == true then
    local written = #put >= from and call('HSET', key, unpack(put, from))
    answer = type(written) == 'table' and 'failed ' .. written.err or 0
  elseif not answer then
    local went, said = pcall(alone, { key }, { presented .. first[list], unpack(put) })
    answer = went and said or 'failed ' .. (type(said) == 'table' and said.err or tostring(said))
  end
  answers[i] = answer
end
return cmsgpack.pack(answers)
