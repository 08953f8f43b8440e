-- What every script of a principal begins with. KEYS[1] lists its sessions: each field is the handle of
-- one, with when it joined and a mark that no other joining has; `!` instead once a revocation was there;
-- `+` behind it once the sign-in is done. What counts is what the session itself says. The list may name some that are over, but none that is live is
-- missing.
local key = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function joined(entry)
  return tonumber(string.match(entry, '^(%d+) ') or error({ err = 'CORRUPT a list holds no session' }))
end

local function left(handle)
  return redis.call('HPTTL', key, 'FIELDS', 1, handle)[1]
end

local function replace(handle, entry)
  local lifetime = left(handle)
  redis.call('HSET', key, handle, entry)
  if lifetime > 0 then redis.call('HPEXPIRE', key, lifetime, 'FIELDS', 1, handle) end
end

local function live(handle)
  return left(handle) == -1 or left(handle) > 0
end
