-- What every script of a session needs that has more to do.
--
-- All moments are milliseconds, 0 where there is none. The field `~` is packed into 64 bytes, the most that
-- a server keeps compact: 1 if there is more than it, 2 if it was ended, 4 if a renewed secret was not yet
-- used; created; secret issued and last used, both since then; idle deadline; absolute deadline; epoch; hash
-- of the secret. What not all sessions have is apart. `~x`: ended, the latest absolute deadline that a
-- sign-in allows, grace of the replaced secret, its end (0 as long as the new secret was not used), signed
-- in, assurance, key of who is. `~r`: the hash of the secret that was replaced.
--
-- The epoch is a counter beside all sessions of one hash tag. Counting it up ends them.
local BASE, MORE = '>BI6I5I5I6I6I3c32', '>I6I6I6I6I6Bc32'
local NOBODY = string.rep('\0', 32)

-- Asked only where nothing else tells the time: it is dear.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function from_now(ms)
  return ms == 0 and 0 or now + ms
end

local function epoch()
  return (redis.call('GET', string.match(key, '^[^}]*}')) or 0) % 2 ^ 24
end

local function deadline(session)
  if session.idle > 0 and (session.absolute == 0 or session.idle < session.absolute) then
    return session.idle
  end
  return session.absolute
end

local function corrupt()
  error({ err = 'CORRUPT the fields that begin with ~ describe no session' })
end

-- The session that `~` describes, whoever asks; none without it. What is left of the key tells the time.
local function read(held)
  if not held then return nil end
  if #held ~= 64 then corrupt() end
  local session = { ended = 0, latest = 0, grace = 0, till = 0, signed = 0, level = 0, replaced = '' }
  local flags, created, rotated, used
  flags, created, rotated, used, session.idle, session.absolute, session.epoch, session.secret =
    struct.unpack(BASE, held)
  session.created, session.rotated, session.used = created, created + rotated, created + used
  session.more = flags % 2
  if session.more > 0 then
    local more = redis.call('HMGET', key, '~x', '~r')
    if not more[1] or #more[1] ~= 63 or #(more[2] or NOBODY) ~= 32 then corrupt() end
    session.ended, session.latest, session.grace, session.till, session.signed, session.level,
      session.principal = struct.unpack(MORE, more[1])
    session.replaced, session.apart = more[2] or '', more[1]
  end
  local over, left = deadline(session), redis.call('PTTL', key)
  now = over > 0 and left >= 0 and over - left or clock()
  if over > 0 and now >= over or session.epoch ~= epoch() then return nil end
  return session
end

-- What a former secret is told: for how long it has opened nothing.
local function replaced(session)
  local since = session.till > 0 and session.till or now
  return string.format('replaced %.0f', math.max(now - since, 0))
end

-- The live session that the secret opens; or nothing, and the answer to give. The secret is `former` as
-- long as its successor was not used, and `late` in the grace that follows.
local function open(held)
  local session = read(held)
  if not session then return nil, 'none' end
  if session.secret ~= presented then
    if session.replaced ~= presented then return nil, 'none' end
    session.former = true
    session.late = session.till > 0
    if session.late and now >= session.till then return nil, replaced(session) end
  end
  if session.ended > 0 then
    return nil, string.format('ended %.0f', math.max(now - session.ended, 0))
  end
  return session
end

-- The live session in which the principal is signed in; or nothing, and the answer to give.
local function owned(held)
  local session = read(held)
  if session and session.ended == 0 and session.signed > 0 and session.principal == presented then
    return session
  end
  return nil, 'none'
end

-- The live session, whosever it is.
local function any(held)
  local session = read(held)
  if session and session.ended == 0 then return session end
  return nil, 'none'
end

-- Comes after all other writes: a deadline that has passed removes the key. Returns what `~` holds now.
local function save(session)
  local function since_created(moment)
    return math.min(math.max(moment - session.created, 0), 2 ^ 40 - 1)
  end
  local more = session.more > 0 or session.ended > 0 or session.signed > 0 or session.replaced ~= ''
  local flags = (more and 1 or 0) + (session.ended > 0 and 2 or 0)
    + (session.grace > 0 and session.till == 0 and 4 or 0)
  local base = struct.pack(BASE, flags, session.created, since_created(session.rotated),
    since_created(session.used), session.idle, session.absolute, session.epoch, session.secret)
  if more then
    session.apart = struct.pack(MORE, session.ended, session.latest, session.grace, session.till,
      session.signed, session.level, session.signed > 0 and session.principal or NOBODY)
    redis.call('HSET', key, '~', base, '~x', session.apart)
    if session.replaced ~= '' then redis.call('HSET', key, '~r', session.replaced) end
  else
    redis.call('HSET', key, '~', base)
  end
  local over = deadline(session)
  if over > 0 then
    redis.call('PEXPIREAT', key, string.format('%.0f', over))
  else
    redis.call('PERSIST', key)
  end
  return base
end

-- Takes note that the session is used by its own secret.
local function confirm(session)
  if session.former or session.grace == 0 or session.till > 0 then return false end
  session.till = now + session.grace
  return true
end

local function touch(session)
  if session.late or idle == 0 or session.idle == 0 then return false end
  if math.max(idle - (session.idle - now), 0) < after then return false end
  session.idle, session.used = now + idle, now
  return true
end

-- Puts a secret in the place of the one that was presented.
local function rotate(session, to)
  if to == session.secret then return false end
  session.replaced, session.secret, session.rotated = presented, to, now
  session.grace, session.till = 0, now
  return true
end

local function sign_in(session, principal, level)
  session.principal, session.level, session.signed = principal, tonumber(level), now
  session.latest = session.absolute
end

local function sign_out(session)
  session.level, session.signed = 0, 0
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

-- A value begins with a digit: its cache policy (3: for how long follows), and 4 if it has an end, which
-- comes first. What remains is the value itself.
local function policy(packed)
  local flags = string.byte(packed) - 48
  if not (flags >= 0 and flags < 8) then error({ err = 'CORRUPT a field holds no value' }) end
  return flags % 4, flags >= 4
end

local function plain(packed)
  local hot, ends = policy(packed)
  return string.sub(packed, 2 + (ends and 6 or 0) + (hot == 3 and 6 or 0))
end

-- Gives fields another end: name, value of each.
local function put_until(till, pairs)
  local names = {}
  for i = 1, #pairs, 2 do
    local hot, ends = policy(pairs[i + 1])
    names[#names + 1] = pairs[i]
    pairs[i + 1] = string.char(52 + hot) .. struct.pack('>I6', till)
      .. string.sub(pairs[i + 1], ends and 8 or 2)
  end
  redis.call('HSET', key, unpack(pairs))
  redis.call('HPEXPIREAT', key, string.format('%.0f', till), 'FIELDS', #names, unpack(names))
end

-- Lua passes a few thousand arguments at most.
local BATCH = 1000

-- Applies changes in their order. Of each, seven bytes say what it does (`=` sets, `-` removes, `+` gives
-- another end) and for how long from now, 0 for ever; from that argument on are its name and its value.
-- No bytes at all: each sets a field for ever. Answer: how many removals and ends found their field.
local function change(each, from)
  if each == '' then
    for i = from, #ARGV, 2 * BATCH do
      redis.call('HSET', key, unpack(ARGV, i, math.min(i + 2 * BATCH - 1, #ARGV)))
    end
    return 0
  end
  local found, group, lifetime = 0, {}, 0
  local function set_group()
    if #group == 0 then return end
    if lifetime > 0 then put_until(now + lifetime, group) else redis.call('HSET', key, unpack(group)) end
    group = {}
  end
  for i = 1, #each, 7 do
    local name, value = ARGV[from], ARGV[from + 1]
    local operation, ms = struct.unpack('>c1I6', each, i)
    from = from + 2
    if operation ~= '=' or ms ~= lifetime or #group >= 2 * BATCH then set_group() end
    if operation == '=' then
      lifetime, group[#group + 1], group[#group + 2] = ms, name, value
    elseif live(name) then
      found = found + 1
      if operation == '-' then
        redis.call('HDEL', key, name)
      else
        put_until(now + ms, { name, redis.call('HGET', key, name) })
      end
    end
  end
  set_group()
  return found
end
