-- Reads a page of a principal list.
--
-- needs: KEYS, ARGV
--
-- KEYS[1] is the list. ARGV: the session id before the page, maximum number of sessions. Answers
-- `more` or `last`, then the id and the entry of each session.
local key, ids = KEYS[1], {}
for _, id in ipairs(redis.call('HKEYS', key)) do
  if id > ARGV[1] then ids[#ids + 1] = id end
end
table.sort(ids)
local answer = { #ids > tonumber(ARGV[2]) and 'more' or 'last' }
for i = 1, math.min(#ids, tonumber(ARGV[2])) do
  answer[#answer + 1] = ids[i]
  answer[#answer + 1] = redis.call('HGET', key, ids[i]) or ''
end
return answer
