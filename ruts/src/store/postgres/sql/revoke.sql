-- Revokes sessions of a principal in a range of ids, except one. Handles only the first step of
-- sessions. $5 names the statement. If a pooler mixes up prepared statements and sends the
-- parameters of a read here, the name is wrong and no session is revoked.

select session_ids, next_from
from {revoke}(p_principal => $1, p_from => $2, p_to => $3, p_except => $4)
where $5::text = 'revoke'
