
local session, refusal = open(base)
if not session then return refusal end
local letters = string.sub(ARGV[1], 45)
if session.late and string.find(letters, '[nriod]') then return replaced(session) end

local length, with, at = { e = 3, n = 3, r = 1, i = 4, o = 0, d = 2, c = 1 }, {}, 2
for letter in string.gmatch(letters, '.') do
  with[letter] = { unpack(ARGV, at, at + length[letter] - 1) }
  at = at + length[letter]
end

local changed = confirm(session)
local function done(answer)
  if changed then save(session) end
  return answer
end
if with.n and now - session.rotated < tonumber(with.n[2]) then return done('early') end

if with.e then
  local held = get(with.e[2])
  if (held and plain(held)) ~= (with.e[1] == '=' and with.e[3]) then return done({ held }) end
end

changed = touch(session) or changed
if with.n and rotate(session, with.n[1]) then
  session.grace, session.till = math.max(tonumber(with.n[3]), 1), 0
  changed = true
end
if with.r then changed = rotate(session, with.r[1]) or changed end
if with.i then
  session.idle, session.absolute = from_now(tonumber(with.i[3])), from_now(tonumber(with.i[4]))
  session.used = now
  sign_in(session, with.i[1], with.i[2])
  changed = true
elseif with.o then
  sign_out(session)
  changed = true
end
if with.d then
  session.absolute = now + with.d[1]
  if session.latest > 0 then
    session.absolute = math.min(session.absolute, session.latest)
  elseif with.d[2] ~= '0' then
    session.absolute = math.min(session.absolute, session.created + with.d[2])
  end
  changed = true
end
return done(change(with.c and with.c[1] or '', at))
