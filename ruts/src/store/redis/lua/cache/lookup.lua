
-- ARGV: what is asked, the nonce, the names.
local names = {}
for i = 3, #ARGV do names[i - 2] = ARGV[i] end
return look_at(key, history(key), ARGV[1], names)
