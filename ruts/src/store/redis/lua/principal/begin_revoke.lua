-- Begins a revocation: from now on no sign-in in progress completes.
--
-- needs: ARGV, key, joined_at, format_entry, replace_entry
--
-- ARGV: `=` and the session to end, or `*` and the session that stays. Answers the id and the entry
-- of each session to end.
local answer = {}
local entries = redis.call('HGETALL', key)
for i = 1, #entries, 2 do
  local id = entries[i]
  if (id == ARGV[2]) == (ARGV[1] == '=') then
    local entry = format_entry(joined_at(entries[i + 1]), '!', {})
    replace_entry(id, entry)
    answer[#answer + 1] = id
    answer[#answer + 1] = entry
  end
end
return answer
