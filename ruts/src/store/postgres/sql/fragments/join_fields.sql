-- Joins the fields of session s as arrays, one row for each session. {field_filter} is empty to
-- select all fields. Otherwise it is `and` and a condition on f.
--
-- needs: s, {fields}, {field_filter}
-- defines: f.names, f.contents, f.cache_policies, f.expiries

cross join lateral (
  select array_agg(f.name) as names, array_agg(f.value) as contents,
    array_agg(f.cache_policy) as cache_policies, array_agg(f.expires_at) as expiries
  from {fields} f
  where f.session = s.id {field_filter}
) f
