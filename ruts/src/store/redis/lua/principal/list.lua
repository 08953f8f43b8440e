-- Reads a part of a principal list.
--
-- needs: ARGV, members_from
--
-- ARGV: the session after which the part begins or '', the maximum number of sessions. Answers the
-- members of the sessions in this part.
return members_from(ARGV[1], ARGV[2])
