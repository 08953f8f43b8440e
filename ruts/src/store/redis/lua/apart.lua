-- What follows is what is done for one session, as if it came alone.
local function alone(KEYS, ARGV)
