-- Finds the entry of a session.
--
-- needs: key
-- defines: find_entry

-- Answers nil if the session is not listed.
local function find_entry(id)
  local found = redis.call('ZRANGEBYLEX', key, '[' .. id, '(' .. id .. '\255', 'LIMIT', 0, 1)
  return found[1] and string.sub(found[1], 17)
end
