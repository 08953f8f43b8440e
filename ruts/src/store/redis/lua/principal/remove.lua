-- Removes sessions that have ended from a principal list.
--
-- needs: ARGV, key, now, joined_at, parse_entry
--
-- ARGV: the longest time of a sign-in, then the id and the entry of each session. A session that
-- has joined since stays. Answers the number of removed sessions.
local removed = 0
for i = 2, #ARGV, 2 do
  local id, entry = ARGV[i], ARGV[i + 1]
  local _, marks = parse_entry(entry)
  local is_stale = #marks == 0 or joined_at(entry) + ARGV[1] < now
  if is_stale and redis.call('HGET', key, id) == entry then
    redis.call('HDEL', key, id)
    removed = removed + 1
  end
end
return removed
