-- Applies an update on the fast path, if it only sets fields without a TTL, perhaps under a
-- precondition.
--
-- needs: ARGV, key, is_fast, compare
--
-- ARGV and the answer are the same as for `update_general`.
if is_fast and #ARGV <= 2000 then
  local from = #ARGV[1] == 44 and 2 or string.sub(ARGV[1], 45) == 'e' and 5
  local verdict = from == 5 and compare(key, ARGV[2], ARGV[3], ARGV[4]) or from == 2
  if type(verdict) == 'table' then return verdict end
  if verdict then
    if #ARGV >= from then redis.call('HSET', key, unpack(ARGV, from)) end
    return 0
  end
end
