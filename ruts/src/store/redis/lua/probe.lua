-- Whether the server can do what is needed: 1, or the name of a command that cannot be run here. A replica
-- refuses the last call; the field that it removes is never there.
for command in string.gmatch(needed, '%S+') do
  local known, allowed = pcall(redis.acl_check_cmd, command, KEYS[1], '1', 'FIELDS', '1', '~')
  if not (known and allowed) then return command end
end
local answer = redis.pcall('HDEL', KEYS[1], '~?')
if type(answer) == 'table' and answer.err and not string.find(answer.err, '^WRONGTYPE') then
  return answer
end
return 1
