-- Whether the server can do what is needed: 1, or the name of a command that cannot be run here. A replica
-- refuses the last call; the field that it removes is never there.
local arguments = { KEYS[1], '1', 'FIELDS', '1', '~' }
for command in string.gmatch(needed, '%S+') do
  local known, allowed
  -- Some servers only answer for a number of arguments that the command takes.
  for count = #arguments, 0, -1 do
    known, allowed = pcall(redis.acl_check_cmd, command, unpack(arguments, 1, count))
    if known then break end
  end
  if not (known and allowed) then return command end
end
local answer = redis.pcall('HDEL', KEYS[1], '~?')
if type(answer) == 'table' and answer.err and not string.find(answer.err, '^WRONGTYPE') then
  return answer
end
return 1
