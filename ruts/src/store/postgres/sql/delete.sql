-- Ends a session. If a pooler mixes up prepared statements, a read with the same parameters must not
-- end it.

select outcome, ago_ms
from {delete}(p_session_id => $1, p_secret => $2)
where $3::text = 'delete'
