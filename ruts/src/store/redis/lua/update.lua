
-- ARGV: secret, idle, after, new secret, end from now, end from creation, expectation ('', '-' absent,
-- '=' equal), its field, its value; secret of a renewal or '', how old the secret has to be, grace; sign
-- ('', 'in', 'out'), principal, assurance, idle, absolute; then operation, name, value, ttl of each change.
-- Answer: 'found', how many removals and lifetimes found their field; 'early'; or 'conflict', what is
-- there.
local session, refusal = open()
if not session then return refusal end
if session.late and (ARGV[4] ~= '' or ARGV[5] ~= '0' or ARGV[10] ~= '' or ARGV[13] ~= '') then
  return replaced(session)
end
local changed = confirm(session)
local function done(answer)
  if changed then save(session) end
  return answer
end
if ARGV[10] ~= '' and now - session.rotated < tonumber(ARGV[11]) then return done({ 'early' }) end

if ARGV[7] ~= '' then
  local held = get(ARGV[8])
  -- What stands before the first colon is the cache policy.
  local colon = not held or string.find(held, ':', 1, true)
  if not colon then error({ err = 'CORRUPT a field holds no value' }) end
  local value = held and string.sub(held, colon + 1)
  if value ~= (ARGV[7] == '=' and ARGV[9]) then return done({ 'conflict', held }) end
end

changed = touch(session, ARGV[2], ARGV[3]) or changed
if rotate(session, ARGV[10]) then
  session.grace, session.till = math.max(tonumber(ARGV[12]), 1), 0
  changed = true
end
changed = rotate(session, ARGV[4]) or changed
if ARGV[13] ~= '' then
  if ARGV[13] == 'in' then
    session.idle, session.absolute, session.used = from_now(ARGV[16]), from_now(ARGV[17]), now
    sign_in(session, ARGV[14], ARGV[15])
  else
    sign_out(session)
  end
  changed = true
end
if ARGV[5] ~= '0' then
  session.absolute = now + ARGV[5]
  if session.latest > 0 then
    session.absolute = math.min(session.absolute, session.latest)
  elseif ARGV[6] ~= '0' then
    session.absolute = math.min(session.absolute, session.created + ARGV[6])
  end
  changed = true
end

local found = 0
for i = 18, #ARGV, 4 do
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
return done({ 'found', found })
