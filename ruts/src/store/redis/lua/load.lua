
-- ARGV: what `calm` says, then one of these letters or none: `*` all fields, `@` in the name of a principal,
-- `&` both, `?` whosever it is; then the names of the fields.
-- Answer: the moment, what `~` holds before the secret, `~x` if there is one, and a byte more if the secret is
-- a former one, all in one; then the values of the fields, or names and values of all.
local mode = #ARGV[1] > 44 and string.sub(ARGV[1], 45) or ''
if calm and (mode == '' or mode == '*') then
  if mode == '*' then
    held = redis.call('HGETALL', key)
    table.insert(held, 1, '')
  end
  held[1] = struct.pack('>I6c32', now, base) .. (apart and more or '')
  return held
end
