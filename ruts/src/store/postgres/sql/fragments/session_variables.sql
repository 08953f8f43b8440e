-- Declares the variables of a function that works on one session.
--
-- needs: {sessions}
-- defines: s, moment, changed, is_revoked, by_former_secret, in_grace

s {sessions};
moment timestamptz;
changed boolean := false;
is_revoked boolean;
-- Whether the former secret was presented, and whether the grace period has begun. Both are true
-- for internal credentials.
by_former_secret boolean := false;
in_grace boolean := false;
