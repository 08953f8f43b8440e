
-- ARGV: behind which handle to begin, how many to list. Answer: whether there are more, then the handle
-- and the entry of each.
local handles = {}
for _, handle in ipairs(redis.call('HKEYS', key)) do
  if handle > ARGV[1] then handles[#handles + 1] = handle end
end
table.sort(handles)
local answer = { #handles > tonumber(ARGV[2]) and 'more' or 'last' }
for i = 1, math.min(#handles, tonumber(ARGV[2])) do
  answer[#answer + 1] = handles[i]
  answer[#answer + 1] = redis.call('HGET', key, handles[i]) or ''
end
return answer
