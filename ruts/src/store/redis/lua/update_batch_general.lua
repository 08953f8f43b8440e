-- Applies the updates of a batch that are not on the fast path.
--
-- needs: KEYS, answers, left, write_session
--
-- Answers as `update_batch` does. An error in one session does not affect the others.
for _, update in ipairs(left) do
  local i, arguments = update[1], update[2]
  local is_done, answer = pcall(write_session, KEYS[i], arguments)
  if not is_done then
    answer = 'failed ' .. (type(answer) == 'table' and answer.err or tostring(answer))
  end
  answers[i] = answer
end
return cmsgpack.pack(answers)
