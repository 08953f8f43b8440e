
-- ARGV: for how long a sign-in may be under way, then the handle and the entry of each session that is not
-- the principal's. Those that joined since, or again, stay. Answer: how many do not.
local left_out = 0
for i = 2, #ARGV, 2 do
  local handle, entry = ARGV[i], ARGV[i + 1]
  local _, marks = parts(entry)
  local is_over = #marks == 0 or joined(entry) + ARGV[1] < now
  if is_over and redis.call('HGET', key, handle) == entry then
    redis.call('HDEL', key, handle)
    left_out = left_out + 1
  end
end
return left_out
