-- Reads and writes entries of a principal list.
--
-- needs: KEYS
-- defines: key, time, now, members_from, joined_at, parse_entry, format_entry, replace_entry
--
-- KEYS[1] is the list of the sessions of a principal. It is a sorted set in which all scores are 0,
-- so that the bytes of its members decide the order. A member is the id of a session, 16 bytes, and
-- its entry: the moment at which the session last joined; `+` after a completed sign-in, or `!`
-- after a revocation; and a mark for each sign-in in progress. The list may name sessions that have
-- ended, but never omits a live one. The record of a session decides whether the principal is
-- signed in to it. The key expires no sooner than the last of the listed sessions.
local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Answers at most `count` members after the session `after`. If `after` is '', begins with the
-- first member.
local function members_from(after, count)
  -- Entries are ASCII, so all their bytes are below 255.
  local from = after == '' and '-' or '(' .. after .. '\255'
  return redis.call('ZRANGEBYLEX', key, from, '+', 'LIMIT', 0, count)
end

local function joined_at(entry)
  local moment = tonumber(string.match(entry, '^(%d+) '))
  return moment or error({ err = 'CORRUPT an entry of a principal list has an unknown format' })
end

-- Answers `+`, `!` or '', and the marks.
local function parse_entry(entry)
  local state, marks = '', {}
  for part in string.gmatch(entry or '', ' (%S+)') do
    if part == '+' or part == '!' then state = part else marks[#marks + 1] = part end
  end
  return state, marks
end

local function format_entry(moment, state, marks)
  local words = { string.format('%.0f', moment) }
  if state ~= '' then words[2] = state end
  for _, mark in ipairs(marks) do words[#words + 1] = mark end
  if #words == 1 then words[2] = '!' end
  return table.concat(words, ' ')
end

-- Replaces `former` with `entry`. Either may be nil.
local function replace_entry(id, former, entry)
  if entry then redis.call('ZADD', key, 0, id .. entry) end
  if former and former ~= entry then redis.call('ZREM', key, id .. former) end
end
