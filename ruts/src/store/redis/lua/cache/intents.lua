-- Reads the write intents of a cache entry.
--
-- needs: now
-- defines: other_intents

-- `text` is the field `~f` of an entry, and `own` the mark of an intent. Answers four values:
--   - the other intents that have not expired, each with `+`
--   - the time until the last of these intents expires
--   - the `+` or '' of `own`, or nil if `own` is absent or has expired
--   - the number of the other intents
local function other_intents(text, own)
  local others, life, beside_own = {}, 0, nil
  for mark, lapses, beside in string.gmatch(text or '', '(%S+) (%d+) (%+?);') do
    if tonumber(lapses) > now then
      if mark == own then
        beside_own = beside
      else
        others[#others + 1] = mark .. ' ' .. lapses .. ' +;'
        life = math.max(life, lapses - now)
      end
    end
  end
  return table.concat(others), life, beside_own, #others
end
