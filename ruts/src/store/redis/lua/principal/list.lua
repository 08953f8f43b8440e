-- Reads a part of a principal list.
--
-- needs: ARGV, members_from
--
-- ARGV: the session before the part, maximum number of sessions. Answers their members.
return members_from(ARGV[1], ARGV[2])
