-- Decodes the first byte of a stored value.
--
-- defines: value_format

-- A stored value is a digit, and the value itself. The digit is the cache policy (3: its maximum
-- age comes before the value, in 6 bytes), plus 4 if the field has a TTL (its end comes first, in 6
-- bytes).
-- Answers the policy, and whether there is a TTL.
local function value_format(held)
  local flags = string.byte(held) - 48
  if not (flags >= 0 and flags < 8) then
    error({ err = 'CORRUPT a field has an unknown format' })
  end
  return flags % 4, flags >= 4
end
