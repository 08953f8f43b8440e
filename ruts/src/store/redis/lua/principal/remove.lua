-- Removes the entries of ended sessions from a principal list.
--
-- needs: ARGV, key, now, joined_at, parse_entry, find_entry
--
-- ARGV: the longest time of a sign-in, then members. If a session has joined again since the caller
-- read its member, it has a different member, and stays. A session also stays if its sign-in may be
-- in progress.
-- Answers 0 for each session that stays, and 1 for each other session.
local answer = {}
for i = 2, #ARGV do
  local id, entry = string.sub(ARGV[i], 1, 16), string.sub(ARGV[i], 17)
  local _, marks = parse_entry(entry)
  local is_stale = #marks == 0 or joined_at(entry) + ARGV[1] < now
  local is_gone = is_stale and (redis.call('ZREM', key, ARGV[i]) == 1 or not find_entry(id))
  answer[i - 1] = is_gone and 1 or 0
end
return answer
