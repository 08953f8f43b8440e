
local function at_once(i, list, key, from, to)
  if not is_calm(i, list, redis.pcall('HGET', key, '~'), ARGV[from]) then return nil end
  local written = to > from and redis.pcall('HSET', key, unpack(ARGV, from + 1, to))
  return type(written) == 'table' and 'failed ' .. written.err or 0
end
