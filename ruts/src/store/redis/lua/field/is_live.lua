-- Answers whether a field is present and has not expired.
--
-- defines: is_live

-- In the millisecond in which a field expires, the server still returns it. HDEL and HPEXPIRE see
-- it until it is removed, which may be much later, and HPEXPIRE revives it.
local function is_live(key, name)
  local left = redis.call('HPTTL', key, 'FIELDS', 1, name)[1]
  return left == -1 or left > 0
end
