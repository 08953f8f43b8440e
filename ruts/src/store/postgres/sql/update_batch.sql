-- Sets the same fields of several sessions.

select outcome, ago_ms, fields_found, value, ordinal
from {update_batch}(
  p_session_ids => $1, p_secrets => $2, p_touch_idle => $3, p_touch_after => $4,
  p_precondition_name => $5, p_precondition_values => $6,
  p_names => $7, p_values => $8, p_cache_policies => $9, p_ttls => $10
)
