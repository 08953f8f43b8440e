-- Answers whether a field is present and has not expired.
--
-- defines: is_live

-- In the millisecond in which a field expires, the server still returns the field. HDEL and
-- HPEXPIRE find an expired field until the server removes it, perhaps much later, and HPEXPIRE
-- revives it.
local function is_live(key, name)
  local left = redis.call('HPTTL', key, 'FIELDS', 1, name)[1]
  return left == -1 or left > 0
end
