-- Writes one session.
--
-- needs: KEYS, ARGV, write_session
--
-- KEYS[1] is the session. ARGV and answer are those of `write_session`.
return write_session(KEYS[1], ARGV)
