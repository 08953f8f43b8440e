-- Revokes sessions of a principal in a range of ids, except one. Handles only the first step of sessions.
-- $5 names the statement: if a pooler mixes up prepared statements, a read with as many parameters does
-- not revoke the sessions.

select session_ids, next_from
from {revoke}(p_principal => $1, p_from => $2, p_to => $3, p_except => $4)
where $5::text = 'revoke'
