-- Finds a live session without its secret.
--
-- needs: read_session
-- defines: find_live, find_owned

local function find_live(key, header)
  local session = read_session(key, header)
  return session and session.ended == 0 and session or nil
end

-- Answers the live session if the principal is signed in to it, else nil.
local function find_owned(key, header, principal)
  local session = find_live(key, header)
  return session and session.signed_in > 0 and session.principal == principal and session or nil
end
