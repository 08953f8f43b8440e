-- What every script of a cache begins with. KEYS[1] is the entry of a session, ARGV[1] for how long it is
-- kept at least.
--
-- Its fields: `~r` the history of the server's data in which it was written, and since when entries of
-- its hash tag are known; `~` the session's own
-- record; `~o` the ticket that is out; `~f` the fences; `~c` until when it counts as complete. Any other
-- is a field of the session. All moments are milliseconds of the server's clock.
local key = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function keep(life)
  if redis.call('PTTL', key) < tonumber(life) then redis.call('PEXPIRE', key, life) end
end

local function text(moment)
  return string.format('%.0f', moment)
end

-- Told apart from every other one: no two runs of a script share a nonce and a moment.
local function unique(nonce)
  return nonce .. clock[1] .. '.' .. clock[2]
end

-- Begins anew with every start of the server and every failover: what an entry held before may be older
-- than what was written since. And whenever all entries of its hash tag are forgotten.
local function history(nonce)
  local id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  if not id then error({ err = 'UNFIT the server does not tell its replication id' }) end
  local name = string.match(key, '^[^}]*}') .. ':hot'
  local since = redis.call('GET', name)
  if not since then
    -- Never one that there was before, so that entries do not come back when this was evicted.
    since = unique(nonce)
    redis.pcall('SET', name, since)
  end
  return string.sub(id, 1, 16) .. '.' .. since
end

-- The fences that stand: mark, until when, `+` if there was another one.
local function fences(held)
  local standing = {}
  for mark, till, beside in string.gmatch(held or '', '(%S+) (%d+) (%+?);') do
    if tonumber(till) > now then
      standing[#standing + 1] = { mark = mark, till = till, beside = beside }
    end
  end
  return standing
end

local function save_fences(standing)
  if #standing == 0 then
    redis.call('HDEL', key, '~f')
    return
  end
  local parts, longest = {}, 0
  for i, fence in ipairs(standing) do
    parts[i] = fence.mark .. ' ' .. fence.till .. ' ' .. fence.beside .. ';'
    longest = math.max(longest, fence.till - now)
  end
  redis.call('HSET', key, '~f', table.concat(parts))
  keep(text(longest))
end

-- The session's own record: until when it may be served, created, secret issued, last used, idle deadline,
-- absolute deadline, signed in, 0 where there is none; assurance; hash of the secret; who is signed in.
local function record(held)
  local till, created, issued, used, idle, absolute, signed, level, rest =
    string.match(held or '', '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (.*)$')
  if not till or tonumber(till) <= now then return nil end
  return {
    created = tonumber(created), issued = tonumber(issued), used = tonumber(used),
    idle = tonumber(idle), absolute = tonumber(absolute), signed = tonumber(signed),
    level = tonumber(level), secret = string.sub(rest, 1, 32), principal = string.sub(rest, 33),
  }
end

-- Whether use counts now: with a zero `after` it always does.
local function due(session, idle, after)
  if idle == '0' or session.idle == 0 then return false end
  return math.max(idle - (session.idle - now), 0) >= tonumber(after)
end

-- Puts fields: name, for how long they may be served and what is left of their own lifetime (-1: no end),
-- both since `at`, and the value with its policy; without any, the field is known not to be there.
local function put(at, from)
  for i = from, #ARGV, 4 do
    local till = at + ARGV[i + 1]
    if till > now then
      local held = text(till)
      if ARGV[i + 3] ~= '' then
        local ends = ARGV[i + 2] == '-1' and 0 or at + ARGV[i + 2]
        held = held .. ' ' .. text(ends) .. ' ' .. ARGV[i + 3]
      end
      redis.call('HSET', key, ARGV[i], held)
    end
  end
end
