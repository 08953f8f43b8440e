-- Tables and functions of version 1. A name in braces stands for a table, index or function, for a
-- constant, or for a fragment in the folder `fragments`.

create table {sessions} (
  id bigint generated always as identity primary key,
  session_id bytea not null unique,
  -- SHA-256 of the secret.
  secret bytea not null,
  -- The replaced secret, its grace period in milliseconds, and the end of that period. Without a
  -- grace period, the last two are null. The end is also null until the current secret is used.
  former_secret bytea,
  grace bigint,
  grace_until timestamptz,
  created_at timestamptz not null,
  issued_at timestamptz not null,
  used_at timestamptz not null,
  idle_at timestamptz,
  absolute_at timestamptz,
  -- The latest absolute deadline that a sign-in allows.
  latest_absolute_at timestamptz,
  ended_at timestamptz,
  -- Whether the session was revoked.
  revoked boolean not null default false,
  principal bytea,
  assurance smallint,
  signed_in_at timestamptz,
  epoch bigint not null,
  -- The hour, counted since 1970, from which the row may be deleted. An index on a deadline would
  -- get a new entry at every touch. Touches change this hour at most about once an hour.
  cleanup_hour int generated always as
    (ceil(date_part('epoch', least(idle_at, absolute_at) at time zone 'UTC') / 3600)) stored
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, vacuum_truncate = false);

create index {cleanup_hour} on {sessions} (cleanup_hour) where cleanup_hour is not null;

-- For sessions without a deadline, which only a new epoch ends.
create index {no_deadline} on {sessions} (epoch) where cleanup_hour is null;

create index {principal} on {sessions} (principal, session_id) where principal is not null;

create table {fields} (
  session bigint not null references {sessions} on delete cascade,
  name text collate "C" not null,
  value bytea not null,
  cache_policy bigint not null,
  expires_at timestamptz,
  primary key (session, name)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, vacuum_truncate = false);

-- One row. Sessions of a different epoch have ended.
create table {epoch} (
  is_only boolean primary key default true check (is_only),
  epoch bigint not null
);

insert into {epoch} (epoch) values (0);

-- Both tables begin with 128 empty pages, and keep them. The server plans a statement once, by the
-- number of pages. For a table of few pages, it would choose a scan. It would keep that plan while
-- the table grows, until statistics are gathered.
insert into {sessions} (session_id, secret, created_at, issued_at, used_at, epoch)
select sha256(i::text::bytea), convert_to(repeat(' ', 1900), 'UTF8'), now(), now(), now(), 0
from generate_series(1, 384) i;

insert into {fields} (session, name, value, cache_policy)
select s.id, s.id::text, s.secret, 0 from {sessions} s;

delete from {sessions};

-- The functions below look up operators and functions only in pg_catalog. A schema on the caller's
-- search path may hold operators and functions of the same name. `use_variable` is for tables that
-- have the name of a variable. A function waits for each lock for at most a second, and then gives
-- its connection back.

create function {create}(
  p_session_id bytea, p_secret bytea, p_idle bigint, p_absolute bigint,
  p_principal bytea, p_assurance smallint, p_limit int, p_end_oldest boolean,
  p_names text[], p_values bytea[], p_cache_policies bigint[], p_ttls bigint[], out outcome text
) language plpgsql set search_path = pg_catalog, pg_temp
set lock_timeout = '1s' as $$
#variable_conflict use_variable
declare
  moment timestamptz;
  new_id bigint;
  others bigint[];
  revoked_ids bigint[];
begin
  {require_own_transaction}
  if p_principal is not null then
    {lock_principal}
    {enforce_limit}
  end if;
  moment := clock_timestamp();
  delete from {sessions} x where x.session_id = p_session_id and (
    least(x.idle_at, x.absolute_at) <= moment or x.epoch <> (select e.epoch from {epoch} e)
  );
  insert into {sessions} (
    session_id, secret, created_at, issued_at, used_at, idle_at, absolute_at,
    latest_absolute_at, principal, assurance, signed_in_at, epoch
  )
  values (
    p_session_id, p_secret, moment, moment, moment,
    moment + p_idle * interval '1 millisecond', moment + p_absolute * interval '1 millisecond',
    case when p_principal is not null then moment + p_absolute * interval '1 millisecond' end,
    p_principal, p_assurance, case when p_principal is not null then moment end,
    (select e.epoch from {epoch} e)
  )
  on conflict (session_id) do nothing
  returning id into new_id;
  if new_id is null then
    outcome := 'exists';
    return;
  end if;
  insert into {fields} (session, name, value, cache_policy, expires_at)
  select new_id, p.name, p.value, p.cache_policy, moment + p.ttl * interval '1 millisecond'
  from unnest(p_names, p_values, p_cache_policies, p_ttls) p (name, value, cache_policy, ttl);
  outcome := 'ok';
end $$;

-- Touches a session if the touch is due, and notes the first use of a renewed secret.
create function {touch}(
  p_session_id bytea, p_secret bytea, p_touch_idle bigint, p_touch_after bigint,
  out outcome text, out ago_ms bigint, out now_at timestamptz, out idle_at timestamptz,
  out used_at timestamptz
) language plpgsql set search_path = pg_catalog, pg_temp
set lock_timeout = '1s' as $$
#variable_conflict use_variable
declare
  {session_variables}
begin
  {require_own_transaction}
  {authenticate}
  {start_grace}
  {extend_idle}
  {save}
  outcome := 'ok';
  now_at := moment;
  idle_at := s.idle_at;
  used_at := s.used_at;
end $$;

create function {update}(
  p_session_id bytea, p_secret bytea,
  p_touch_idle bigint default null, p_touch_after bigint default null,
  p_precondition_name text default null, p_precondition_value bytea default null,
  p_rotate_secret bytea default null,
  p_absolute_from_now bigint default null, p_absolute_from_creation bigint default null,
  p_renew_secret bytea default null, p_renew_every bigint default null,
  p_renew_grace bigint default null,
  p_auth_change text default null, p_sign_in_idle bigint default null,
  p_sign_in_absolute bigint default null,
  p_principal bytea default null, p_assurance smallint default null, p_limit int default null,
  p_end_oldest boolean default null, p_keep_fields boolean default null,
  -- 'set', 'remove' or 'expire' for each field. Null sets all fields, whose names must differ.
  p_operations text[] default null,
  p_names text[] default null, p_values bytea[] default null,
  p_cache_policies bigint[] default null, p_ttls bigint[] default null,
  out outcome text, out ago_ms bigint, out fields_found bigint, out value bytea
) language plpgsql set search_path = pg_catalog, pg_temp
set lock_timeout = '1s' as $$
#variable_conflict use_variable
declare
  {session_variables}
  current_value bytea;
  expires timestamptz;
  others bigint[];
  revoked_ids bigint[];
begin
  {require_own_transaction}
  if p_principal is not null then
    {lock_principal}
    {lock_sessions}
  end if;
  {authenticate}
  if in_grace and num_nonnulls(
    p_rotate_secret, p_absolute_from_now, p_renew_secret, p_auth_change
  ) > 0 then
    {reject_in_grace}
  end if;
  {start_grace}
  if p_renew_secret is not null
    and moment - s.issued_at < p_renew_every * interval '1 millisecond'
  then
    {save}
    outcome := 'not_due';
    return;
  end if;
  if p_precondition_name is not null then
    select f.value into current_value from {fields} f
    where f.session = s.id and f.name = p_precondition_name
      and (f.expires_at is null or f.expires_at > moment);
    if current_value is distinct from p_precondition_value then
      {save}
      outcome := 'conflict';
      value := current_value;
      return;
    end if;
  end if;
  {enforce_limit}

  {extend_idle}
  if p_renew_secret <> s.secret then
    s.former_secret := p_secret;
    s.secret := p_renew_secret;
    s.issued_at := moment;
    s.grace := p_renew_grace;
    s.grace_until := null;
    changed := true;
  end if;
  {rotate}
  if p_auth_change is not null then
    if p_auth_change = 'in' and s.principal <> p_principal and not p_keep_fields then
      delete from {fields} f where f.session = s.id;
    end if;
    if p_auth_change = 'lapse' then
      s.assurance := case when s.principal is not null then p_assurance end;
    else
      s.principal := p_principal;
      s.assurance := p_assurance;
      s.signed_in_at := null;
    end if;
    if p_auth_change = 'in' then
      s.idle_at := moment + p_sign_in_idle * interval '1 millisecond';
      s.absolute_at := moment + p_sign_in_absolute * interval '1 millisecond';
      s.latest_absolute_at := s.absolute_at;
      s.used_at := moment;
      s.signed_in_at := moment;
    end if;
    changed := true;
  end if;
  if p_absolute_from_now is not null then
    s.absolute_at := least(
      moment + p_absolute_from_now * interval '1 millisecond',
      coalesce(s.latest_absolute_at, s.created_at + p_absolute_from_creation * interval '1 millisecond')
    );
    changed := true;
  end if;
  {save}

  if num_nonnulls(variadic p_ttls) > 0 then
    delete from {fields} f where f.session = s.id and f.expires_at <= moment;
  end if;
  fields_found := 0;
  if p_operations is null and p_names <> '{}' then
    insert into {fields} as f (session, name, value, cache_policy, expires_at)
    select s.id, p.name, p.value, p.cache_policy, moment + p.ttl * interval '1 millisecond'
    from unnest(p_names, p_values, p_cache_policies, p_ttls) p (name, value, cache_policy, ttl)
    on conflict (session, name) do update
    set value = excluded.value, cache_policy = excluded.cache_policy,
      expires_at = excluded.expires_at;
  end if;
  for i in 1 .. coalesce(cardinality(p_operations), 0) loop
    if p_operations[i] = 'set' then
      insert into {fields} as f (session, name, value, cache_policy, expires_at)
      values (
        s.id, p_names[i], p_values[i], p_cache_policies[i],
        moment + p_ttls[i] * interval '1 millisecond'
      )
      on conflict (session, name) do update
      set value = excluded.value, cache_policy = excluded.cache_policy,
        expires_at = excluded.expires_at;
    elsif p_operations[i] = 'remove' then
      delete from {fields} f where f.session = s.id and f.name = p_names[i]
      returning f.expires_at into expires;
      if found and (expires is null or expires > moment) then
        fields_found := fields_found + 1;
      end if;
    else
      update {fields} f set expires_at = moment + p_ttls[i] * interval '1 millisecond'
      where f.session = s.id and f.name = p_names[i]
        and (f.expires_at is null or f.expires_at > moment);
      if found then
        fields_found := fields_found + 1;
      end if;
    end if;
  end loop;
  outcome := 'ok';
end $$;

-- Sets the same fields of several sessions. Returns a row for each session that it did not skip, in
-- any order: the answer of {update}, and the session's ordinal, from 1. `p_values` holds the values
-- of the first session, then the values of the second session, and so on.
create function {update_batch}(
  p_session_ids bytea[], p_secrets bytea[], p_touch_idle bigint, p_touch_after bigint,
  p_precondition_name text, p_precondition_values bytea[],
  p_names text[], p_values bytea[], p_cache_policies bigint[], p_ttls bigint[]
) returns table (outcome text, ago_ms bigint, fields_found bigint, value bytea, ordinal bigint)
language plpgsql set search_path = pg_catalog, pg_temp
set lock_timeout = '1s' as $$
#variable_conflict use_variable
declare
  ids bigint[];
  ordinals bigint[];
  -- Whether the session is on the fast path: only the precondition is checked and the fields are
  -- written.
  fast boolean[];
  current_values bytea[];
begin
  {require_own_transaction}
  -- Waiting for a lock while holding other locks can cause a deadlock, so locked sessions are
  -- skipped. The lateral subquery is an index probe for each session. A join, planned while the
  -- table was small, would scan the whole table even after it has grown.
  select array_agg(x.id), array_agg(q.ordinal), array_agg(
    num_nonnulls(variadic p_ttls) = 0
    and x.secret = q.secret
    and x.ended_at is null
    and (x.idle_at is null or x.idle_at > clock_timestamp())
    and (x.absolute_at is null or x.absolute_at > clock_timestamp())
    and x.epoch = (select e.epoch from {epoch} e)
    and (x.grace is null or x.grace_until is not null)
    and (p_touch_idle is null or x.idle_at is null or p_touch_after > greatest(
      p_touch_idle - date_part('epoch', x.idle_at - clock_timestamp()) * 1000, 0
    ))
  )
  into ids, ordinals, fast
  from unnest(p_session_ids, p_secrets) with ordinality q (session_id, secret, ordinal)
  cross join lateral (
    select * from {sessions} y where y.session_id = q.session_id for update skip locked
  ) x;

  -- A separate statement, because its snapshot is taken after the locks. The snapshot of the
  -- statement above may be outdated.
  if p_precondition_name is not null then
    select array_agg((
      select f.value from {fields} f
      where f.session = c.id and f.name = p_precondition_name
        and (f.expires_at is null or f.expires_at > clock_timestamp())
    ) order by c.at)
    into current_values
    from unnest(ids) with ordinality c (id, at);
  end if;
  insert into {fields} as f (session, name, value, cache_policy, expires_at)
  select c.id, n.name, p_values[(c.ordinal - 1) * cardinality(p_names) + n.at], n.cache_policy, null
  from unnest(ids, ordinals, fast, current_values) c (id, ordinal, fast, current_value)
  cross join unnest(p_names, p_cache_policies) with ordinality n (name, cache_policy, at)
  where c.fast and (
    p_precondition_name is null
    or c.current_value is not distinct from p_precondition_values[c.ordinal]
  )
  on conflict (session, name) do update
  set value = excluded.value, cache_policy = excluded.cache_policy,
    expires_at = excluded.expires_at;
  return query
  select
    case
      when p_precondition_name is null
        or c.current_value is not distinct from p_precondition_values[c.ordinal]
      then 'ok'
      else 'conflict'
    end,
    null::bigint, 0::bigint, c.current_value, c.ordinal
  from unnest(ordinals, fast, current_values) c (ordinal, fast, current_value)
  where c.fast;

  for i in 1 .. coalesce(cardinality(ids), 0) loop
    if not fast[i] then
      return query
      select u.outcome, u.ago_ms, u.fields_found, u.value, ordinals[i]
      from {update}(
        p_session_id => p_session_ids[ordinals[i]],
        p_secret => p_secrets[ordinals[i]],
        p_touch_idle => p_touch_idle,
        p_touch_after => p_touch_after,
        p_precondition_name => p_precondition_name,
        p_precondition_value => p_precondition_values[ordinals[i]],
        p_names => p_names,
        p_values => p_values[
          (ordinals[i] - 1) * cardinality(p_names) + 1 : ordinals[i] * cardinality(p_names)
        ],
        p_cache_policies => p_cache_policies,
        p_ttls => p_ttls
      ) u;
    end if;
  end loop;
end $$;

create function {take}(
  p_session_id bytea, p_secret bytea, p_touch_idle bigint, p_touch_after bigint,
  p_rotate_secret bytea, p_name text, p_sign_out boolean,
  -- A value of a higher version stays. The version is in the third and fourth byte of the value.
  p_max_version int,
  out outcome text, out ago_ms bigint, out value bytea
) language plpgsql set search_path = pg_catalog, pg_temp
set lock_timeout = '1s' as $$
#variable_conflict use_variable
declare
  {session_variables}
  expires timestamptz;
begin
  {require_own_transaction}
  {authenticate}
  if in_grace and (p_rotate_secret is not null or p_sign_out) then
    {reject_in_grace}
  end if;
  select f.value, f.expires_at into value, expires from {fields} f
  where f.session = s.id and f.name = p_name;
  -- `case` tests the length before the bytes are read. The parentheses separate its `then` from the
  -- `then` of `if`.
  if (
    case
      when p_max_version is null or octet_length(value) < 4 then true
      else get_byte(value, 2) * 256 + get_byte(value, 3) <= p_max_version
    end
  ) then
    delete from {fields} f where f.session = s.id and f.name = p_name;
  end if;
  if expires <= moment then
    value := null;
  end if;
  {start_grace}
  {extend_idle}
  {rotate}
  if p_sign_out then
    s.principal := null;
    s.assurance := null;
    s.signed_in_at := null;
    changed := true;
  end if;
  {save}
  outcome := 'ok';
end $$;

create function {delete}(
  p_session_id bytea, p_secret bytea, out outcome text, out ago_ms bigint
) language plpgsql set search_path = pg_catalog, pg_temp
set lock_timeout = '1s' as $$
#variable_conflict use_variable
declare
  {session_variables}
begin
  {require_own_transaction}
  {authenticate}
  delete from {fields} f where f.session = s.id;
  -- The row stays until its new absolute deadline, so that its secrets are recognised.
  update {sessions} x
  set ended_at = clock_timestamp(), idle_at = null,
    absolute_at = clock_timestamp() + {deleted_retention_ms} * interval '1 millisecond',
    principal = null, assurance = null, signed_in_at = null
  where x.id = s.id;
  outcome := 'ok';
end $$;

-- Revokes sessions of a principal in a range of ids, except one, and returns their ids. One call
-- handles one step of sessions. The next step begins at `next_from`, which is null if no session is
-- left.
create function {revoke}(
  p_principal bytea, p_from bytea, p_to bytea, p_except bytea,
  out session_ids bytea[], out next_from bytea
) language plpgsql set search_path = pg_catalog, pg_temp
set lock_timeout = '1s' as $$
#variable_conflict use_variable
declare
  seen bigint;
  revoked_ids bigint[];
begin
  {require_own_transaction}
  {lock_principal}
  -- In the order of an index, so that the scan ends at the limit. The lock on the principal
  -- prevents sign-ins of this principal in the meantime.
  with theirs as (
    select x.* from {sessions} x
    where x.principal = p_principal and x.session_id between p_from and p_to
    order by x.session_id
    limit {step}
    for update
  )
  select
    count(*), (array_agg(x.session_id order by x.session_id desc))[1] || decode('00', 'hex'),
    coalesce(array_agg(x.id) filter (where x.is_live), '{}'),
    coalesce(array_agg(x.session_id) filter (where x.is_live), '{}')
  into seen, next_from, revoked_ids, session_ids
  from (
    select x.*, {is_live_predicate} and x.session_id is distinct from p_except as is_live
    from theirs x
  ) x;
  if seen < {step} then
    next_from := null;
  end if;
  {end_revoked}
end $$;

-- Ends all sessions by a new epoch.
create function {next_epoch}(out epoch bigint)
language plpgsql set search_path = pg_catalog, pg_temp
set lock_timeout = '1s' as $$
#variable_conflict use_variable
begin
  {require_own_transaction}
  update {epoch} e set epoch = e.epoch + 1 returning e.epoch into strict epoch;
end $$;
