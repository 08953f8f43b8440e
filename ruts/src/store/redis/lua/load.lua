
-- ARGV: secret, idle, after, or principal, '@', '', or '', '?', ''; then '*' or '=', names.
-- Answer: 'found', age, age of the secret, time since its last use, idle left, absolute left, 1 if the
-- secret is a former one, time since the sign-in (-1: nobody), principal, assurance; then name, value, left
-- of each.
local find = ARGV[2] == '@' and owned or ARGV[2] == '?' and any or open
local session, refusal = find()
if not session then return refusal end
if tonumber(ARGV[2]) and ARGV[2] ~= '0' then
  local confirmed = confirm(session)
  if touch(session, ARGV[2], ARGV[3]) or confirmed then save(session) end
end

local function left(at)
  return at == 0 and -1 or at - now
end
local answer = {
  'found', math.max(now - session.created, 0), math.max(now - session.rotated, 0),
  math.max(now - session.used, 0), left(session.idle), left(session.absolute),
  session.former and 1 or 0,
  session.principal == '' and -1 or math.max(now - session.signed, 0), session.principal, session.level,
}

-- In batches: Lua passes a few thousand arguments at most.
local function add(asked, from, to)
  local values = redis.call('HMGET', key, unpack(asked, from, to))
  local lifetimes = redis.call('HPTTL', key, 'FIELDS', to - from + 1, unpack(asked, from, to))
  for i = 1, to - from + 1 do
    -- In the very millisecond in which a field ends, its value is still handed out.
    if values[i] and (lifetimes[i] == -1 or lifetimes[i] > 0) then
      answer[#answer + 1] = asked[from + i - 1]
      answer[#answer + 1] = values[i]
      answer[#answer + 1] = lifetimes[i]
    end
  end
end

local asked, first = ARGV, 5
if ARGV[4] == '*' then
  asked, first = {}, 1
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if string.byte(name) ~= 126 then asked[#asked + 1] = name end
  end
end
for from = first, #asked, 1000 do
  add(asked, from, math.min(from + 999, #asked))
end
return answer
