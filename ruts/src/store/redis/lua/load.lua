-- Answers a read on the fast path.
--
-- needs: ARGV, key, values, header, extension, now, is_fast, has_extension
-- defines: mode
--
-- ARGV[1] is as in `fast_path`, perhaps with a letter at its end: `*` all fields, `@` by principal,
-- `&` all fields by principal, `?` without credentials. The names of the fields follow. Answers a
-- list. Its first item packs the server's time, the header without the secret, the extension if
-- there is one, and `!` if the presented secret is a former one. Then come the values of the named
-- fields, or the names and values of all fields.
local mode = #ARGV[1] > 44 and string.sub(ARGV[1], 45) or ''
if is_fast and (mode == '' or mode == '*') then
  if mode == '*' then
    values = redis.call('HGETALL', key)
    table.insert(values, 1, '')
  end
  values[1] = struct.pack('>I6c32', now, header) .. (has_extension and extension or '')
  return values
end
