-- Reads the write intents of a cache entry.
--
-- needs: now
-- defines: other_intents

-- `text` is the field `~f` of an entry. Answers its intents except `own`, without those that have
-- expired, and each with `+`; the time until the last of them expires; and the `+` or '' of `own`,
-- nil if `own` is not there or has expired.
local function other_intents(text, own)
  local others, life, beside_own = '', 0, nil
  for mark, lapses, beside in string.gmatch(text or '', '(%S+) (%d+) (%+?);') do
    if tonumber(lapses) > now then
      if mark == own then
        beside_own = beside
      else
        others = others .. mark .. ' ' .. lapses .. ' +;'
        life = math.max(life, lapses - now)
      end
    end
  end
  return others, life, beside_own
end
