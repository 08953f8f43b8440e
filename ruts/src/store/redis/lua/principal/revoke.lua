
-- ARGV: '=' and the only handle that is meant, or '*' and one that is not. From now on no sign-in that is
-- under way goes through. Answer: the handle and the entry of each.
local answer = { 'meant' }
local entries = redis.call('HGETALL', key)
for i = 1, #entries, 2 do
  local handle = entries[i]
  if (handle == ARGV[2]) == (ARGV[1] == '=') then
    local entry = entry_of(joined(entries[i + 1]), '!', {})
    replace(handle, entry)
    answer[#answer + 1] = handle
    answer[#answer + 1] = entry
  end
end
return answer
