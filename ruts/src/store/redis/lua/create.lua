
-- ARGV: secret, idle, absolute packed; principal or ''; assurance; then the changes.
if read(base) then return 'exists' end
redis.call('DEL', key)
now = now or clock()
local session = {
  created = now, rotated = now, used = now, idle = from_now(idle), absolute = from_now(after), ended = 0,
  latest = 0, grace = 0, till = 0, signed = 0, level = 0, epoch = epoch(), secret = presented,
  replaced = '', more = 0,
}
if ARGV[2] ~= '' then sign_in(session, ARGV[2], ARGV[3]) end
change(ARGV[4], 5)
save(session)
return 'found'
