-- Changes fields.
--
-- needs: is_live, value_format
-- defines: remove_fields, apply_changes

-- Writes fields that expire. `pairs` holds the name and the value of each.
local function put_until(key, moment, pairs)
  local names = {}
  for i = 1, #pairs, 2 do
    local policy, has_end = value_format(pairs[i + 1])
    names[#names + 1] = pairs[i]
    pairs[i + 1] = string.char(52 + policy) .. struct.pack('>I6', moment)
      .. string.sub(pairs[i + 1], has_end and 8 or 2)
  end
  redis.call('HSET', key, unpack(pairs))
  redis.call('HPEXPIREAT', key, string.format('%.0f', moment), 'FIELDS', #names, unpack(names))
end

-- Removes every field of the application. The fields of the record, whose names begin with `~`,
-- stay.
local function remove_fields(key)
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if string.sub(name, 1, 1) ~= '~' then redis.call('HDEL', key, name) end
  end
end

-- Applies changes in their order. `kinds` has seven bytes for each change, a sign and a TTL, 0 for
-- none. The sign `=` sets the field, `-` removes it, and `+` only sets its TTL. If `kinds` is
-- empty, each change sets a field without a TTL. From `arguments[from]` on come the name and the
-- value of each change. Answers the number of changes `-` and `+` that found their field.
local function apply_changes(key, now, kinds, arguments, from)
  -- `unpack` takes a few thousand values at most, so longer lists of changes are written in parts.
  if kinds == '' then
    for i = from, #arguments, 2000 do
      redis.call('HSET', key, unpack(arguments, i, math.min(i + 1999, #arguments)))
    end
    return 0
  end
  local found, group, lifetime = 0, {}, 0
  local function put_group()
    if #group == 0 then return end
    if lifetime > 0 then
      put_until(key, now + lifetime, group)
    else
      redis.call('HSET', key, unpack(group))
    end
    group = {}
  end
  for i = 1, #kinds, 7 do
    local name, value = arguments[from], arguments[from + 1]
    local kind, ms = struct.unpack('>c1I6', kinds, i)
    from = from + 2
    if kind ~= '=' or ms ~= lifetime or #group >= 2000 then put_group() end
    if kind == '=' then
      lifetime, group[#group + 1], group[#group + 2] = ms, name, value
    elseif is_live(key, name) then
      found = found + 1
      if kind == '-' then
        redis.call('HDEL', key, name)
      else
        put_until(key, now + ms, { name, redis.call('HGET', key, name) })
      end
    end
  end
  put_group()
  return found
end
