end

-- KEYS are sessions. ARGV[1] is all bytes: how many lists there are, and how many arguments are in each; then
-- for each session which list is its own, the first being 0, and how many other arguments it has. The lists
-- follow, and then the arguments of each. The first argument for a session is what its own arguments and its
-- list begin with, one after the other; its others come next, and then those of the list.
-- Answer, packed: of each what it would get alone, or `failed` and why.
local find, byte, call, read = string.find, string.byte, redis.call, struct.unpack
local head, to = ARGV[1], 1
local lists, plain, idle, after, count = {}, {}, {}, {}, byte(ARGV[1])
for i = 1, count do
  local length = byte(head, i + 1)
  lists[i] = { unpack(ARGV, to + 2, to + length) }
  lists[i][0] = ARGV[to + 1]
  plain[i] = #ARGV[to + 1] == 12
  idle[i], after[i] = read('>I6I6', ARGV[to + 1])
  to = to + length
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epochs = {}
for i = 1, #KEYS do epochs[i] = string.match(KEYS[i], '^[^}]*}') end
epochs = call('MGET', unpack(epochs))

-- Whether there is nothing to do but what was asked for, as `calm` has it.
local function is_calm(i, list, base, presented)
  if type(base) ~= 'string' or #base ~= 64 or #presented ~= 32 then return false end
  if find(base, presented, 33, true) ~= 33 then return false end
  local flags, ends, absolute, epoch = read('>BxxxxxxxxxxxxxxxxI6I6I3', base)
  local idle, after = idle[list], after[list]
  return flags <= 1
    and (ends == 0 or ends > now) and (absolute == 0 or absolute > now)
    and (idle == 0 or ends == 0 or after > 0 and idle - (ends - now) < after)
    and epoch == (epochs[i] or 0) % 2 ^ 24
end
