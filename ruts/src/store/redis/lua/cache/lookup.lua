-- Looks up one cache entry.
--
-- needs: ARGV, key, history, look_up
--
-- ARGV: the request of `look_up`, the nonce, the names of the fields. Answers as `look_up` does.
local names = {}
for i = 3, #ARGV do names[i - 2] = ARGV[i] end
return look_up(key, history(key), ARGV[1], names)
