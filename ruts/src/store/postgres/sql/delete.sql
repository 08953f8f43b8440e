-- Ends a session. $3 names the statement: if a pooler mixes up prepared statements, a read with as many
-- parameters does not end the session.

select outcome, ago_ms
from {delete}(p_session_id => $1, p_secret => $2)
where $3::text = 'delete'
