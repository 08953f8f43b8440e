
-- ARGV: secret, idle, after, new secret, end from now, end from creation, expectation ('', '-' absent,
-- '=' equal), its field, its value, then operation, name, value, ttl of each change.
-- Answer: 'found', how many removals and lifetimes found their field; or 'conflict', what is there.
local session, refusal = open()
if not session then return refusal end

if ARGV[7] ~= '' then
  local held = get(ARGV[8])
  -- What stands before the first colon is the cache policy.
  local colon = not held or string.find(held, ':', 1, true)
  if not colon then error({ err = 'CORRUPT a field holds no value' }) end
  local value = held and string.sub(held, colon + 1)
  if value ~= (ARGV[7] == '=' and ARGV[9]) then return { 'conflict', held } end
end

local changed = touch(session, ARGV[2], ARGV[3])
changed = rotate(session, ARGV[4]) or changed
if ARGV[5] ~= '0' then
  session.absolute = now + ARGV[5]
  if ARGV[6] ~= '0' then
    session.absolute = math.min(session.absolute, session.created + ARGV[6])
  end
  changed = true
end

local found = 0
for i = 10, #ARGV, 4 do
  local operation, name = ARGV[i], ARGV[i + 1]
  if operation == 'set' then
    set(name, ARGV[i + 2], ARGV[i + 3])
  elseif live(name) then
    found = found + 1
    if operation == 'remove' then
      redis.call('HDEL', key, name)
    else
      redis.call('HPEXPIRE', key, ARGV[i + 3], 'FIELDS', 1, name)
    end
  end
end
if changed then save(session) end
return { 'found', found }
