-- What every script begins with. KEYS[1] is the session, ARGV[1] the hash of the secret presented.
--
-- The field `~` holds five times in milliseconds: created, rotated, idle deadline, absolute deadline,
-- ended; 0 where there is none. The field `~s` holds the hash of the secret, and after it that of the
-- secret it replaced.
local key, secret = KEYS[1], ARGV[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function from_now(ms)
  return ms == '0' and 0 or now + ms
end

local function deadline(session)
  if session.idle > 0 and (session.absolute == 0 or session.idle < session.absolute) then
    return session.idle
  end
  return session.absolute
end

-- The session that is there, whoever asks. A hash without `~` is none.
local function read()
  local held = redis.call('HMGET', key, '~', '~s')
  if not held[1] then return nil end
  local created, rotated, idle, absolute, ended =
    string.match(held[1], '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  if not created or not held[2] or (#held[2] ~= 32 and #held[2] ~= 64) then
    error({ err = 'CORRUPT the fields ~ and ~s describe no session' })
  end
  local session = {
    created = tonumber(created), rotated = tonumber(rotated), idle = tonumber(idle),
    absolute = tonumber(absolute), ended = tonumber(ended),
    secret = string.sub(held[2], 1, 32), replaced = string.sub(held[2], 33),
  }
  local over = deadline(session)
  if over > 0 and now >= over then return nil end
  return session
end

-- The live session that the secret opens; or nothing, and the answer to give.
local function open()
  local session = read()
  if not session then return nil, { 'none' } end
  if session.secret == secret then
    if session.ended == 0 then return session end
    return nil, { 'ended', math.max(now - session.ended, 0) }
  end
  if session.replaced == secret then
    return nil, { 'replaced', math.max(now - session.rotated, 0) }
  end
  return nil, { 'none' }
end

-- Comes after all other writes: a deadline that has passed removes the key.
local function save(session)
  redis.call('HSET', key,
    '~', string.format('%.0f %.0f %.0f %.0f %.0f', session.created, session.rotated, session.idle,
      session.absolute, session.ended),
    '~s', session.secret .. session.replaced)
  local over = deadline(session)
  if over > 0 then
    redis.call('PEXPIREAT', key, string.format('%.0f', over))
  else
    redis.call('PERSIST', key)
  end
end

local function touch(session, idle, after)
  if idle == '0' or session.idle == 0 then return false end
  if math.max(idle - (session.idle - now), 0) < tonumber(after) then return false end
  session.idle = now + idle
  return true
end

local function rotate(session, to)
  if to == '' or to == session.secret then return false end
  session.replaced, session.secret, session.rotated = session.secret, to, now
  return true
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
