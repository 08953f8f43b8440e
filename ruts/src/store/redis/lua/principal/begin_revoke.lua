-- Begins a revocation, or a step of it. After this script, a sign-in in progress to a session of
-- the step can no longer complete.
--
-- needs: ARGV, members_from, joined_at, format_entry, replace_entry, find_entry
--
-- ARGV begins with `=` or `*`. After `=` come the sessions to end. After `*` come the session that
-- stays or '', the last session of the previous step or '', and the maximum number of sessions in
-- this step. Answers the last session of the step, and then the member of each session to end. If
-- the list has no further sessions, the first item is '' instead, or `evicted` if the list may be
-- incomplete.
local function begin(id, entry)
  local begun = format_entry(joined_at(entry), '!', {})
  replace_entry(id, entry, begun)
  return id .. begun
end

if ARGV[1] == '=' then
  local answer = { '' }
  for i = 2, #ARGV do
    local entry = find_entry(ARGV[i])
    if entry then answer[#answer + 1] = begin(ARGV[i], entry) end
  end
  return answer
end
local members = members_from(ARGV[3], ARGV[4])
local answer = { #members == tonumber(ARGV[4]) and string.sub(members[#members], 1, 16) or '' }
for _, member in ipairs(members) do
  local id = string.sub(member, 1, 16)
  if id ~= ARGV[2] then answer[#answer + 1] = begin(id, string.sub(member, 17)) end
end
if answer[1] == '' then
  -- `info` is in lower case, because the probe has to list every command that is in capitals. So a
  -- user who may not run `info` may still revoke.
  local stats = redis.pcall('info', 'stats')
  local evicted = type(stats) == 'string' and string.match(stats, 'evicted_keys:(%d+)')
  if (evicted or '0') ~= '0' then answer[1] = 'evicted' end
end
return answer
