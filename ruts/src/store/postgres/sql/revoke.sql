-- Revokes sessions of a principal in a range of ids, except one: the first step of them. If a pooler
-- mixes up prepared statements, a read with the same parameters must not revoke them.

select session_ids, next_from
from {revoke}(p_principal => $1, p_from => $2, p_to => $3, p_except => $4)
where $5::text = 'revoke'
