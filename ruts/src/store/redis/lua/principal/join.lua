
-- ARGV: handle, nonce, for how long it stays listed, how many may be listed; 0 is no limit to either.
-- Answer: the entry; or, if there are too many, the handle and the entry of each other one.
if ARGV[4] ~= '0' then
  local full, entries = { 'full' }, redis.call('HGETALL', key)
  for i = 1, #entries, 2 do
    if entries[i] ~= ARGV[1] and live(entries[i]) then
      full[#full + 1] = entries[i]
      full[#full + 1] = entries[i + 1]
    end
  end
  if (#full - 1) / 2 >= tonumber(ARGV[4]) then return full end
end
local entry = string.format('%.0f ', now) .. ARGV[2] .. clock[1] .. '.' .. clock[2]
redis.call('HSET', key, ARGV[1], entry)
if ARGV[3] ~= '0' then redis.call('HPEXPIRE', key, ARGV[3], 'FIELDS', 1, ARGV[1]) end
return { 'joined', entry }
