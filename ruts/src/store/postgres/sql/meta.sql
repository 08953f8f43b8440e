(date_part('epoch', {moment} - s.created_at) * 1000::float8)::bigint,
  (date_part('epoch', {moment} - s.rotated_at) * 1000::float8)::bigint,
  (date_part('epoch', {moment} - {used_at}) * 1000::float8)::bigint,
  (date_part('epoch', {idle_at} - {moment}) * 1000::float8)::bigint,
  (date_part('epoch', s.absolute_at - {moment}) * 1000::float8)::bigint,
  (date_part('epoch', {moment} - s.signed_at) * 1000::float8)::bigint,
  s.principal, s.assurance,
  f.name, f.value, f.hot,
  (date_part('epoch', f.expires_at - {moment}) * 1000::float8)::bigint
