-- Ends sessions of a principal. Nothing is left of them.
--
-- needs: KEYS, ARGV, find_owned
--
-- KEYS are the sessions. ARGV[1] begins with the principal key. Answers, for each session, 1 if it
-- has ended, or 0.
local principal, answer = string.sub(ARGV[1], 1, 32), {}
for i, key in ipairs(KEYS) do
  local session = find_owned(key, redis.call('HGET', key, '~'), principal)
  if session then redis.call('DEL', key) end
  answer[i] = session and 1 or 0
end
return answer
