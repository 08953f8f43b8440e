-- Deletes sessions of a principal: one, or all but one. Under a pooler that mixes up prepared
-- statements, a read with the same parameters must not do so.

select session_id
from {revoke}(p_principal => $1, p_one => $2, p_except => $3) session_id
where $4::text = 'revoke'
