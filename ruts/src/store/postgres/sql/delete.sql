-- Ends a session.

select outcome, ago_ms
from {delete}(p_session_id => $1, p_secret => $2)
