
-- ARGV: handle, mark of a sign-in that was refused.
local entry = redis.call('HGET', key, ARGV[1])
local state, marks = parts(entry or '')
if not strike(marks, ARGV[2]) then return end
if state == '' and #marks == 0 then
  redis.call('HDEL', key, ARGV[1])
else
  replace(ARGV[1], entry_of(joined(entry), state, marks))
end
