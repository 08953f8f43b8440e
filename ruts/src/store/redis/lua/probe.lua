-- Whether the server can expire fields.
local answer = redis.pcall('HPTTL', KEYS[1], 'FIELDS', 1, '~')
return type(answer) == 'table' and not answer.err and 1 or 0
