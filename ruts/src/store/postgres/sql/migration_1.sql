create table {sessions} (
  id bigint generated always as identity primary key,
  handle bytea not null unique,
  secret bytea not null,
  -- The secret before, for how long it is good once the new one was used, and until when it is; null as
  -- long as the new one was not.
  replaced bytea,
  grace bigint,
  grace_until timestamptz,
  created_at timestamptz not null,
  rotated_at timestamptz not null,
  used_at timestamptz not null,
  idle_at timestamptz,
  absolute_at timestamptz,
  -- The latest absolute deadline that a sign-in allows.
  latest_at timestamptz,
  ended_at timestamptz,
  principal bytea,
  assurance smallint,
  signed_at timestamptz,
  epoch bigint not null,
  -- The hour by whose end the row may be removed. A deadline itself, if indexed, would be a new index
  -- entry at every change; this one hardly ever changes.
  gc int generated always as
    (ceil(date_part('epoch', least(idle_at, absolute_at) at time zone 'UTC') / 3600)) stored
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

create index {gc} on {sessions} (gc) where gc is not null;

create index {principal} on {sessions} (principal, handle) where principal is not null;

create table {fields} (
  session bigint not null references {sessions} on delete cascade,
  name text collate "C" not null,
  value bytea not null,
  hot bigint not null,
  expires_at timestamptz,
  primary key (session, name)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

-- One row. Sessions of another epoch are over, all of them at once.
create table {epoch} (
  is_only boolean primary key default true check (is_only),
  epoch bigint not null
);

insert into {epoch} (epoch) values (0);

-- Functions find operators and functions in pg_catalog alone: a schema of the caller's path may hold
-- others that fit as well. A table may have the name of a variable.

create function {create}(
  p_handle bytea, p_secret bytea, p_idle bigint, p_absolute bigint,
  p_principal bytea, p_assurance smallint, p_limit int, p_end_oldest boolean,
  p_names text[], p_values bytea[], p_hots bigint[], p_ttls bigint[], out said text
) {language} as $$
#variable_conflict use_variable
declare
  moment timestamptz;
  new_id bigint;
  others bigint[];
begin
  if p_principal is not null then
    {lock}
    {limit}
  end if;
  moment := clock_timestamp();
  delete from {sessions} x where x.handle = p_handle and (
    least(x.idle_at, x.absolute_at) <= moment or x.epoch <> (select e.epoch from {epoch} e)
  );
  insert into {sessions} (
    handle, secret, grace_until, created_at, rotated_at, used_at, idle_at, absolute_at, latest_at,
    principal, assurance, signed_at, epoch
  )
  values (
    p_handle, p_secret, moment, moment, moment, moment,
    moment + p_idle * interval '1 millisecond', moment + p_absolute * interval '1 millisecond',
    case when p_principal is not null then moment + p_absolute * interval '1 millisecond' end,
    p_principal, p_assurance, case when p_principal is not null then moment end,
    (select e.epoch from {epoch} e)
  )
  on conflict (handle) do nothing
  returning id into new_id;
  if new_id is null then
    said := 'exists';
    return;
  end if;
  insert into {fields} (session, name, value, hot, expires_at)
  select new_id, p.name, p.value, p.hot, moment + p.ttl * interval '1 millisecond'
  from unnest(p_names, p_values, p_hots, p_ttls) p (name, value, hot, ttl);
  said := 'found';
end $$;

-- Counts a read as activity, once it is due, and as the first use of a new secret.
create function {touch}(
  p_handle bytea, p_secret bytea, p_idle bigint, p_after bigint,
  out said text, out ago bigint, out seen timestamptz, out idle_at timestamptz,
  out used_at timestamptz
) {language} as $$
#variable_conflict use_variable
declare
  {declare}
begin
  {open}
  {confirm}
  {slide}
  {save}
  said := 'found';
  seen := moment;
  idle_at := s.idle_at;
  used_at := s.used_at;
end $$;

create function {update}(
  p_handle bytea, p_secret bytea, p_idle bigint, p_after bigint, p_rotate bytea,
  p_end_from_now bigint, p_end_from_creation bigint, p_expect text, p_expected bytea,
  p_renew bytea, p_every bigint, p_grace bigint,
  p_sign text, p_sign_idle bigint, p_sign_absolute bigint,
  p_principal bytea, p_assurance smallint, p_limit int, p_end_oldest boolean,
  p_operations text[], p_names text[], p_values bytea[], p_hots bigint[], p_ttls bigint[],
  out said text, out ago bigint, out hits bigint, out value bytea
) {language} as $$
#variable_conflict use_variable
declare
  {declare}
  current_value bytea;
  expires timestamptz;
  others bigint[];
begin
  if p_principal is not null then
    {lock}
  end if;
  {open}
  if late and num_nonnulls(p_rotate, p_end_from_now, p_renew, p_sign) > 0 then
    {late}
  end if;
  {confirm}
  if p_renew is not null and moment - s.rotated_at < p_every * interval '1 millisecond' then
    {save}
    said := 'early';
    return;
  end if;
  if p_expect is not null then
    select f.value into current_value from {fields} f
    where f.session = s.id and f.name = p_expect
      and (f.expires_at is null or f.expires_at > moment);
    if current_value is distinct from p_expected then
      {save}
      said := 'conflict';
      value := current_value;
      return;
    end if;
  end if;
  {limit}

  {slide}
  if p_renew <> s.secret then
    s.replaced := p_secret;
    s.secret := p_renew;
    s.rotated_at := moment;
    s.grace := p_grace;
    s.grace_until := null;
    changed := true;
  end if;
  {rotate}
  if p_sign is not null then
    s.principal := p_principal;
    s.assurance := p_assurance;
    s.signed_at := null;
    if p_sign = 'in' then
      s.idle_at := moment + p_sign_idle * interval '1 millisecond';
      s.absolute_at := moment + p_sign_absolute * interval '1 millisecond';
      s.latest_at := s.absolute_at;
      s.used_at := moment;
      s.signed_at := moment;
    end if;
    changed := true;
  end if;
  if p_end_from_now is not null then
    s.absolute_at := least(
      moment + p_end_from_now * interval '1 millisecond',
      coalesce(s.latest_at, s.created_at + p_end_from_creation * interval '1 millisecond')
    );
    changed := true;
  end if;
  {save}

  if num_nonnulls(variadic p_ttls) > 0 then
    delete from {fields} f where f.session = s.id and f.expires_at <= moment;
  end if;
  hits := 0;
  if p_operations is null and p_names <> '{}' then
    insert into {fields} as f (session, name, value, hot, expires_at)
    select s.id, p.name, p.value, p.hot, moment + p.ttl * interval '1 millisecond'
    from unnest(p_names, p_values, p_hots, p_ttls) p (name, value, hot, ttl)
    on conflict (session, name) do update
    set value = excluded.value, hot = excluded.hot, expires_at = excluded.expires_at;
  end if;
  for i in 1 .. coalesce(cardinality(p_operations), 0) loop
    if p_operations[i] = 'set' then
      insert into {fields} as f (session, name, value, hot, expires_at)
      values (
        s.id, p_names[i], p_values[i], p_hots[i],
        moment + p_ttls[i] * interval '1 millisecond'
      )
      on conflict (session, name) do update
      set value = excluded.value, hot = excluded.hot, expires_at = excluded.expires_at;
    elsif p_operations[i] = 'remove' then
      delete from {fields} f where f.session = s.id and f.name = p_names[i]
      returning f.expires_at into expires;
      if found and (expires is null or expires > moment) then
        hits := hits + 1;
      end if;
    else
      update {fields} f set expires_at = moment + p_ttls[i] * interval '1 millisecond'
      where f.session = s.id and f.name = p_names[i]
        and (f.expires_at is null or f.expires_at > moment);
      if found then
        hits := hits + 1;
      end if;
    end if;
  end loop;
  said := 'found';
end $$;

-- Sets fields of several sessions, the same of each, those left out that are locked. Answer, in any order:
-- whose it is, the first being 1, and what {update} says.
create function {update_many}(
  p_handles bytea[], p_secrets bytea[], p_idle bigint, p_after bigint,
  p_expect text, p_expected bytea[],
  p_names text[], p_values bytea[], p_hots bigint[], p_ttls bigint[]
) returns table (said text, ago bigint, hits bigint, value bytea, place bigint) {language} as $$
#variable_conflict use_variable
declare
  ids bigint[];
  places bigint[];
  -- All there is to do is to look at what is expected, and to write.
  calm boolean[];
  held bytea[];
begin
  -- One by one: the plan for a table that was small once would go on to read all of it. What waits for no
  -- lock while it holds others can be waited for by all.
  select array_agg(x.id), array_agg(q.place), array_agg(
    num_nonnulls(variadic p_ttls) = 0
    and x.secret = q.secret
    and x.ended_at is null
    and (x.idle_at is null or x.idle_at > clock_timestamp())
    and (x.absolute_at is null or x.absolute_at > clock_timestamp())
    and x.epoch = (select e.epoch from {epoch} e)
    and (x.grace is null or x.grace_until is not null)
    and (p_idle is null or x.idle_at is null or p_after > greatest(
      p_idle - date_part('epoch', x.idle_at - clock_timestamp()) * 1000, 0
    ))
  )
  into ids, places, calm
  from unnest(p_handles, p_secrets) with ordinality q (handle, secret, place)
  cross join lateral (
    select * from {sessions} y where y.handle = q.handle for update skip locked
  ) x;

  -- A statement of its own, for what was there before the sessions were locked may be there no more.
  if p_expect is not null then
    select array_agg((
      select f.value from {fields} f
      where f.session = c.id and f.name = p_expect
        and (f.expires_at is null or f.expires_at > clock_timestamp())
    ) order by c.at)
    into held
    from unnest(ids) with ordinality c (id, at);
  end if;
  insert into {fields} as f (session, name, value, hot, expires_at)
  select c.id, n.name, p_values[(c.place - 1) * cardinality(p_names) + n.at], n.hot, null
  from unnest(ids, places, calm, held) c (id, place, calm, held)
  cross join unnest(p_names, p_hots) with ordinality n (name, hot, at)
  where c.calm and (p_expect is null or c.held is not distinct from p_expected[c.place])
  on conflict (session, name) do update
  set value = excluded.value, hot = excluded.hot, expires_at = excluded.expires_at;
  return query
  select
    case
      when p_expect is null or c.held is not distinct from p_expected[c.place] then 'found'
      else 'conflict'
    end,
    null::bigint, 0::bigint, c.held, c.place
  from unnest(places, calm, held) c (place, calm, held)
  where c.calm;

  for i in 1 .. coalesce(cardinality(ids), 0) loop
    if not calm[i] then
      return query
      select u.said, u.ago, u.hits, u.value, places[i]
      from {update}(
        p_handles[places[i]], p_secrets[places[i]], p_idle, p_after, null, null, null,
        p_expect, p_expected[places[i]], null, null, null, null, null, null, null, null, null, null,
        null, p_names,
        p_values[(places[i] - 1) * cardinality(p_names) + 1 : places[i] * cardinality(p_names)],
        p_hots, p_ttls
      ) u;
    end if;
  end loop;
end $$;

create function {take}(
  p_handle bytea, p_secret bytea, p_idle bigint, p_after bigint, p_rotate bytea, p_name text,
  p_sign_out boolean, out said text, out ago bigint, out value bytea
) {language} as $$
#variable_conflict use_variable
declare
  {declare}
  expires timestamptz;
begin
  {open}
  if late and (p_rotate is not null or p_sign_out) then
    {late}
  end if;
  delete from {fields} f where f.session = s.id and f.name = p_name
  returning f.value, f.expires_at into value, expires;
  if expires <= moment then
    value := null;
  end if;
  {confirm}
  {slide}
  {rotate}
  if p_sign_out then
    s.principal := null;
    s.assurance := null;
    s.signed_at := null;
    changed := true;
  end if;
  {save}
  said := 'found';
end $$;

create function {delete}(
  p_handle bytea, p_secret bytea, out said text, out ago bigint
) {language} as $$
#variable_conflict use_variable
declare
  {declare}
begin
  {open}
  delete from {fields} f where f.session = s.id;
  -- What is left is its secrets, for a while.
  update {sessions} x
  set ended_at = clock_timestamp(), idle_at = null,
    absolute_at = clock_timestamp() + {late_ms} * interval '1 millisecond',
    principal = null, assurance = null, signed_at = null
  where x.id = s.id;
  said := 'found';
end $$;

-- Ends sessions of a principal: one, or all but one. Nothing is left of them.
create function {revoke}(p_principal bytea, p_one bytea, p_except bytea)
returns setof bytea {language} as $$
#variable_conflict use_variable
declare
  ids bigint[];
begin
  {lock}
  with theirs as (
    select x.id from {sessions} x
    where {live}
      and (p_one is null or x.handle = p_one) and (p_except is null or x.handle <> p_except)
    order by x.id
    for update
  )
  select coalesce(array_agg(theirs.id), '{}') into ids from theirs;
  return query select x.handle from {sessions} x where x.id = any (ids);
  delete from {sessions} x where x.id = any (ids);
end $$;
