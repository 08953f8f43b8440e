-- Answers which sessions have a record. A session with a record may have ended.
--
-- needs: KEYS
--
-- KEYS are the sessions. Answers 1 or 0 for each.
local answer = {}
for i, key in ipairs(KEYS) do answer[i] = redis.call('EXISTS', key) end
return answer
