
-- ARGV: life of a ticket, nonce, secret, idle, after, '*' or '=', names.
-- Answer: 'hit', age, age of the secret, time since the last use, idle left, absolute left, time since the
-- sign-in (-1: nobody), principal, assurance, then name, value, left of each; or 'miss', and if there
-- is one, a ticket and the moment.
local held = redis.call('HMGET', key, '~r', '~', '~o', '~f', '~c')
local here = history(ARGV[2])
if held[1] and held[1] ~= here then
  redis.call('DEL', key)
  held = {}
end

local function left(at)
  return at == 0 and -1 or at - now
end

-- Adds what is held of a field; false if nothing is known of it.
local function add(answer, name, value)
  if not value then return false end
  local till, ends, from = string.match(value, '^(%d+) ?(%d*) ?()')
  if tonumber(till) <= now then return false end
  if ends ~= '' then
    answer[#answer + 1] = name
    answer[#answer + 1] = string.sub(value, from)
    answer[#answer + 1] = left(tonumber(ends))
  end
  return true
end

local function all(answer)
  if not held[5] or tonumber(held[5]) <= now then return false end
  local entry = redis.call('HGETALL', key)
  for i = 1, #entry, 2 do
    if string.byte(entry[i]) ~= 126 and not add(answer, entry[i], entry[i + 1]) then return false end
  end
  return true
end

-- In batches: Lua passes a few thousand arguments at most.
local function named(answer)
  for from = 7, #ARGV, 1000 do
    local to = math.min(from + 999, #ARGV)
    local values = redis.call('HMGET', key, unpack(ARGV, from, to))
    for i = from, to do
      if not add(answer, ARGV[i], values[i - from + 1]) then return false end
    end
  end
  return true
end

local session = record(held[2])
if session and session.secret == ARGV[3] and not due(session, ARGV[4], ARGV[5]) then
  local answer = {
    'hit', math.max(now - session.created, 0), math.max(now - session.issued, 0),
    math.max(now - session.used, 0), left(session.idle), left(session.absolute),
    session.principal == '' and -1 or math.max(now - session.signed, 0), session.principal,
    session.level,
  }
  if (ARGV[6] == '*' and all or named)(answer) then return answer end
end

if #fences(held[4]) > 0 then return { 'miss' } end
local ticket = held[3]
if not ticket then
  ticket = unique(ARGV[2])
  local written = redis.pcall('HSET', key, '~r', here, '~o', ticket)
  -- A server without room hands out no tickets.
  if type(written) == 'table' then return { 'miss' } end
  keep(ARGV[1])
end
return { 'miss', ticket, now }
