-- Runs all steps of a sign-in, if one server keeps the list and the session.
--
-- needs: KEYS, ARGV, join, verify, withdraw, write_session
--
-- KEYS[2] is the session. ARGV: session id, nonce, time for which the session stays listed, maximum
-- number of sessions; then the arguments of `write_session`. Answers as `join` does if the list is
-- full; else `joined`, the answer of `write_session`, and the number of sessions.
local answer = join(ARGV[1], ARGV[2], ARGV[3], ARGV[4])
if answer[1] == 'full' then return answer end
local arguments = {}
for i = 5, #ARGV do arguments[i - 4] = ARGV[i] end
local is_done, written = pcall(write_session, KEYS[2], arguments)
if is_done and (written == 'found' or type(written) == 'number') then
  verify(ARGV[1], answer[2], ARGV[3])
else
  withdraw(ARGV[1], answer[2])
end
if not is_done then
  -- Some servers pass the text of an error, and some servers pass a table. An error of Lua itself
  -- has no code.
  local text = type(written) == 'table' and written.err or tostring(written)
  error({ err = string.find(text, '^%u+ ') and text or 'ERR ' .. text })
end
return { 'joined', written, answer[3] }
