-- Creates a session, signed in or not, with its first fields.

select outcome
from {create}(
  p_session_id => $1, p_secret => $2, p_idle => $3, p_absolute => $4,
  p_principal => $5, p_assurance => $6, p_limit => $7, p_end_oldest => $8,
  p_names => $9, p_values => $10, p_cache_policies => $11, p_ttls => $12
)
