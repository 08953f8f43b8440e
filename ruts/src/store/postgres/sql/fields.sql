cross join lateral (
  select array_agg(f.name) as names, array_agg(f.value) as contents, array_agg(f.hot) as hots,
    array_agg(f.expires_at) as ends
  from {fields} f
  where f.session = s.id{named}
) f
