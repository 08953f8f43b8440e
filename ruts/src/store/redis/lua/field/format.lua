-- Decodes the first byte of a stored value.
--
-- defines: value_format

-- A stored value is a digit, perhaps two moments or durations of 6 bytes, and the value itself. The
-- digit is the cache policy, plus 4 if the field has a TTL. The end of the TTL follows, if there is
-- one. Then comes the maximum age, if the policy is 3.
-- Answers the policy, and whether there is a TTL.
local function value_format(held)
  local flags = string.byte(held) - 48
  if not (flags >= 0 and flags < 8) then
    error({ err = 'CORRUPT a field has an unknown format' })
  end
  return flags % 4, flags >= 4
end
