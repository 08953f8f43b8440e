
local answers = {}
for i, key in ipairs(KEYS) do
  local list, own = byte(head, count + 2 * i, count + 2 * i + 1)
  local from = to + 1
  list, to = list + 1, to + own
  local answer = plain[list] and at_once(i, list, key, from, to)
  if not answer then
    local arguments = { unpack(ARGV, from, to) }
    arguments[1] = arguments[1] .. lists[list][0]
    for _, argument in ipairs(lists[list]) do arguments[#arguments + 1] = argument end
    local went, said = pcall(alone, { key }, arguments)
    answer = went and said or 'failed ' .. (type(said) == 'table' and said.err or tostring(said))
  end
  answers[i] = answer
end
return cmsgpack.pack(answers)
