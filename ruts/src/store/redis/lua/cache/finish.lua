
-- ARGV: life of the entry, fence, its moment, then four of each field.
local mine, others = nil, {}
for _, fence in ipairs(fences(redis.call('HGET', key, '~f'))) do
  if fence.mark == ARGV[2] then mine = fence else others[#others + 1] = fence end
end
if mine then
  if mine.beside == '' then put(ARGV[3], 4) end
else
  -- It fell, or was forgotten: readers may have filled in what this write replaced, and a write that is
  -- under way may have come before this one.
  local written_in = redis.call('HGET', key, '~r')
  redis.call('DEL', key)
  if #others == 0 then return end
  for _, fence in ipairs(others) do fence.beside = '+' end
  redis.call('HSET', key, '~r', written_in)
end
save_fences(others)
keep(ARGV[1])
