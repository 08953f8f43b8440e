-- Deletes sessions of a principal: one, or all but one.

select session_id
from {revoke}(p_principal => $1, p_one => $2, p_except => $3) session_id
