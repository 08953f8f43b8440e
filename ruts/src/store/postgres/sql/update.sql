-- Updates a session.

select outcome, ago_ms, fields_found, value
from {update}(
  p_session_id => $1, p_secret => $2, p_touch_idle => $3, p_touch_after => $4,
  p_precondition_name => $5, p_precondition_value => $6,
  p_rotate_secret => $7, p_absolute_from_now => $8, p_absolute_from_creation => $9,
  p_renew_secret => $10, p_renew_every => $11, p_renew_grace => $12,
  p_auth_change => $13, p_sign_in_idle => $14, p_sign_in_absolute => $15,
  p_principal => $16, p_assurance => $17, p_limit => $18, p_end_oldest => $19,
  p_keep_fields => $20,
  p_operations => $21,
  p_names => $22, p_values => $23, p_cache_policies => $24, p_ttls => $25
)
