-- What every script of a session begins with. KEYS[1] is the session, ARGV[1] the hash of the secret
-- presented, or, for who asks in the name of a principal, its key.
--
-- The field `~` holds numbers, times in milliseconds, 0 where there is none: created, rotated, last used,
-- idle deadline, absolute deadline, ended, the latest absolute deadline that a sign-in allows, grace of the
-- replaced secret, its end (0 as long as the new secret was not used), signed in, assurance, epoch. The
-- field `~s` holds the hash of the secret, and after it that of the secret it replaced; `~p` the key of who
-- is signed in.
--
-- The epoch is a counter beside all sessions of one hash tag. Counting it up ends them.
local key, presented = KEYS[1], ARGV[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local names = {
  'created', 'rotated', 'used', 'idle', 'absolute', 'ended', 'latest', 'grace', 'till', 'signed',
  'level', 'epoch',
}

local function from_now(ms)
  return ms == '0' and 0 or now + ms
end

local function epoch()
  return tonumber(redis.call('GET', string.match(key, '^[^}]*}')) or 0)
end

local function deadline(session)
  if session.idle > 0 and (session.absolute == 0 or session.idle < session.absolute) then
    return session.idle
  end
  return session.absolute
end

-- The session that is there, whoever asks. A hash without `~` is none.
local function read()
  local held = redis.call('HMGET', key, '~', '~s', '~p')
  if not held[1] then return nil end
  local session, count = {}, 0
  for number in string.gmatch(held[1], '%d+') do
    count = count + 1
    session[names[count] or ''] = tonumber(number)
  end
  if count ~= #names or not held[2] or (#held[2] ~= 32 and #held[2] ~= 64) then
    error({ err = 'CORRUPT the fields ~ and ~s describe no session' })
  end
  session.secret, session.replaced = string.sub(held[2], 1, 32), string.sub(held[2], 33)
  session.principal = held[3] or ''
  local over = deadline(session)
  if over > 0 and now >= over or session.epoch ~= epoch() then return nil end
  return session
end

-- What a former secret is told: for how long it has opened nothing.
local function replaced(session)
  local since = session.till > 0 and session.till or now
  return { 'replaced', math.max(now - since, 0) }
end

-- The live session that the secret opens; or nothing, and the answer to give. The secret is `former` as
-- long as its successor was not used, and `late` in the grace that follows.
local function open()
  local session = read()
  if not session then return nil, { 'none' } end
  if session.secret ~= presented then
    if session.replaced ~= presented then return nil, { 'none' } end
    session.former = true
    session.late = session.till > 0
    if session.late and now >= session.till then return nil, replaced(session) end
  end
  if session.ended > 0 then return nil, { 'ended', math.max(now - session.ended, 0) } end
  return session
end

-- The live session in which the principal is signed in; or nothing, and the answer to give.
local function owned()
  local session = read()
  if session and session.ended == 0 and session.principal == presented then return session end
  return nil, { 'none' }
end

-- The live session, whosever it is.
local function any()
  local session = read()
  if session and session.ended == 0 then return session end
  return nil, { 'none' }
end

-- Comes after all other writes: a deadline that has passed removes the key.
local function save(session)
  local numbers = {}
  for i, name in ipairs(names) do numbers[i] = string.format('%.0f', session[name]) end
  redis.call('HSET', key, '~', table.concat(numbers, ' '), '~s', session.secret .. session.replaced)
  if session.principal ~= '' then
    redis.call('HSET', key, '~p', session.principal)
  else
    redis.call('HDEL', key, '~p')
  end
  local over = deadline(session)
  if over > 0 then
    redis.call('PEXPIREAT', key, string.format('%.0f', over))
  else
    redis.call('PERSIST', key)
  end
end

-- Takes note that the session is used by its own secret.
local function confirm(session)
  if session.former or session.grace == 0 or session.till > 0 then return false end
  session.till = now + session.grace
  return true
end

local function touch(session, idle, after)
  if session.late or idle == '0' or session.idle == 0 then return false end
  if math.max(idle - (session.idle - now), 0) < tonumber(after) then return false end
  session.idle, session.used = now + idle, now
  return true
end

-- Puts a secret in the place of the one that was presented.
local function rotate(session, to)
  if to == '' or to == session.secret then return false end
  session.replaced, session.secret, session.rotated = presented, to, now
  session.grace, session.till = 0, now
  return true
end

local function sign_in(session, principal, level)
  session.principal, session.level, session.signed = principal, tonumber(level), now
  session.latest = session.absolute
end

local function sign_out(session)
  session.principal, session.level, session.signed = '', 0, 0
end

local function finish(session, remember)
  redis.call('DEL', key)
  session.ended, session.idle, session.absolute = now, 0, from_now(remember)
  sign_out(session)
  save(session)
end

-- Whether a field is there. In the very millisecond in which it ends, the server still hands it out, and
-- HDEL and HPEXPIRE see it until it is removed, which may be much later: HPEXPIRE then brings it back.
local function live(name)
  local left = redis.call('HPTTL', key, 'FIELDS', 1, name)[1]
  return left == -1 or left > 0
end

local function get(name)
  local held = redis.call('HGET', key, name)
  return held and live(name) and held
end

-- A new value has no lifetime until it is given one.
local function set(name, value, ttl)
  redis.call('HSET', key, name, value)
  if ttl ~= '0' then redis.call('HPEXPIRE', key, ttl, 'FIELDS', 1, name) end
end
