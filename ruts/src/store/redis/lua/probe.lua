-- Asks whether the server and this user can run the commands of a script.
--
-- needs: KEYS, commands
--
-- `commands` lists the commands, and is defined in front of this text. Answers 1, or `unknown` or
-- `denied` with the first command that the server does not have or the user may not run, or the
-- error of the HDEL at the end. That HDEL names a field that never exists. A replica refuses the
-- HDEL. A leader that only temporarily refuses writes passes the probe.
--
-- Each argument is the key, in case the command takes that argument as a key.
local arguments = { KEYS[1], KEYS[1], KEYS[1], KEYS[1], KEYS[1] }
for command in string.gmatch(commands, '%S+') do
  local is_known, is_allowed
  -- Some servers check the permission for a command only if the number of its arguments is valid.
  -- So the loop tries each number.
  for count = #arguments, 0, -1 do
    is_known, is_allowed = pcall(redis.acl_check_cmd, command, unpack(arguments, 1, count))
    if is_known then break end
  end
  if not is_known then return 'unknown ' .. command end
  if not is_allowed then return 'denied ' .. command end
end
local answer = redis.pcall('HDEL', KEYS[1], '~?')
local code = type(answer) == 'table' and string.match(answer.err or '', '^%u+')
if code and code ~= 'WRONGTYPE' and code ~= 'MISCONF' and code ~= 'NOREPLICAS' then
  return answer
end
return 1
