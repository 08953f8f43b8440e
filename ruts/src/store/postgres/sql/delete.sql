-- Ends a session. $3 names the statement. If a pooler mixes up prepared statements and sends the
-- parameters of a read here, the name is wrong and the session does not end.

select outcome, ago_ms
from {delete}(p_session_id => $1, p_secret => $2)
where $3::text = 'delete'
