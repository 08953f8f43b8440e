-- Declares the variables of a function that works on one session.
--
-- needs: {sessions}
-- defines: s, moment, changed, is_revoked, by_former_secret, in_grace

s {sessions};
moment timestamptz;
changed boolean := false;
is_revoked boolean;
-- Whether the secret that a renewal replaced opened the session, and in its grace period.
by_former_secret boolean := false;
in_grace boolean := false;
