
-- All steps at once, KEYS[2] being the session. ARGV: handle, nonce, for how long it stays listed, how many
-- may be listed; then the arguments of the session's own script. Answer: what `join` says if there are too
-- many; or 'joined' and what the session's script says.
local answer = join(ARGV[1], ARGV[2], ARGV[3], ARGV[4])
if answer[1] == 'full' then return answer end
local arguments = {}
for i = 5, #ARGV do arguments[i - 4] = ARGV[i] end
local went, said = pcall(alone, { KEYS[2] }, arguments)
if went and (said == 'found' or type(said) == 'number') then
  verify(ARGV[1], answer[2], ARGV[3])
else
  withdraw(ARGV[1], answer[2])
end
if not went then
  -- Some servers hand the text of an error out, others all of it. A mistake has no code.
  local text = type(said) == 'table' and said.err or tostring(said)
  error({ err = string.find(text, '^%u+ ') and text or 'ERR ' .. text })
end
return { 'joined', said }
