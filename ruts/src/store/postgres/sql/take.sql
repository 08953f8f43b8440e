-- Removes a field and returns its value.

select outcome, ago_ms, value
from {take}(
  p_session_id => $1, p_secret => $2, p_touch_idle => $3, p_touch_after => $4,
  p_rotate_secret => $5, p_name => $6, p_sign_out => $7, p_max_version => $8
)
