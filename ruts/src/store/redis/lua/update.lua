
-- ARGV: what `calm` says, then a letter for each of these that follows, in any order: `e` expectation
-- ('-' absent, '=' equal), its field, its value; `n` secret of a renewal, how old the secret has to be,
-- grace; `r` new secret; `i` principal who signs in, assurance, idle, absolute; `o` signs out; `d` end from
-- now, end from creation; `c` seven bytes of each change. Then the changes.
-- Answer: how many removals and ends found their field; 'early'; or, in a list, what is there instead.
if calm and #ARGV <= 2000 then
  local from = #ARGV[1] == 44 and 2 or string.sub(ARGV[1], 45) == 'e' and 5
  local verdict = from == 5 and compare(key, ARGV[2], ARGV[3], ARGV[4]) or from == 2
  if type(verdict) == 'table' then return verdict end
  if verdict then
    if #ARGV >= from then redis.call('HSET', key, unpack(ARGV, from)) end
    return 0
  end
end
