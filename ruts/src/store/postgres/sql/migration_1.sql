create table {sessions} (
  id bigint generated always as identity primary key,
  handle bytea not null unique,
  secret bytea not null,
  replaced bytea,
  created_at timestamptz not null,
  rotated_at timestamptz not null,
  idle_at timestamptz,
  absolute_at timestamptz,
  ended_at timestamptz,
  -- The hour by whose end the row may be removed. A deadline itself, if indexed, would be a new index
  -- entry at every change; this one hardly ever changes.
  gc int generated always as
    (ceil(date_part('epoch', least(idle_at, absolute_at) at time zone 'UTC') / 3600)) stored
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

create index {gc} on {sessions} (gc) where gc is not null;

create table {fields} (
  session bigint not null references {sessions} on delete cascade,
  name text collate "C" not null,
  value bytea not null,
  hot bigint not null,
  expires_at timestamptz,
  primary key (session, name)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

-- Functions find operators and functions in pg_catalog alone: a schema of the caller's path may hold
-- others that fit as well. A table may have the name of a variable.

create function {create}(
  p_handle bytea, p_secret bytea, p_idle bigint, p_absolute bigint,
  p_names text[], p_values bytea[], p_hots bigint[], p_ttls bigint[]
) returns boolean {language} as $$
#variable_conflict use_variable
declare
  moment timestamptz := clock_timestamp();
  new_id bigint;
begin
  delete from {sessions} where handle = p_handle and least(idle_at, absolute_at) <= moment;
  insert into {sessions} (handle, secret, created_at, rotated_at, idle_at, absolute_at)
  values (
    p_handle, p_secret, moment, moment,
    moment + p_idle * interval '1 millisecond', moment + p_absolute * interval '1 millisecond'
  )
  on conflict (handle) do nothing
  returning id into new_id;
  if new_id is null then
    return false;
  end if;
  for i in 1 .. cardinality(p_names) loop
    insert into {fields} (session, name, value, hot, expires_at)
    values (
      new_id, p_names[i], p_values[i], p_hots[i],
      moment + p_ttls[i] * interval '1 millisecond'
    )
    on conflict (session, name) do update
    set value = excluded.value, hot = excluded.hot, expires_at = excluded.expires_at;
  end loop;
  return true;
end $$;

-- Counts a read as activity, once it is due.
create function {touch}(
  p_handle bytea, p_secret bytea, p_idle bigint, p_after bigint,
  out said text, out ago bigint, out seen timestamptz, out idle_at timestamptz
) {language} as $$
#variable_conflict use_variable
declare
  {declare}
begin
  {open}
  {slide}
  {save}
  said := 'found';
  seen := moment;
  idle_at := s.idle_at;
end $$;

create function {update}(
  p_handle bytea, p_secret bytea, p_idle bigint, p_after bigint, p_rotate bytea,
  p_end_from_now bigint, p_end_from_creation bigint, p_expect text, p_expected bytea,
  p_operations text[], p_names text[], p_values bytea[], p_hots bigint[], p_ttls bigint[],
  out said text, out ago bigint, out hits bigint, out value bytea
) {language} as $$
#variable_conflict use_variable
declare
  {declare}
  current_value bytea;
  expires timestamptz;
begin
  {open}
  if p_expect is not null then
    select f.value into current_value from {fields} f
    where f.session = s.id and f.name = p_expect
      and (f.expires_at is null or f.expires_at > moment);
    if current_value is distinct from p_expected then
      said := 'conflict';
      value := current_value;
      return;
    end if;
  end if;

  {slide}
  {rotate}
  if p_end_from_now is not null then
    s.absolute_at := least(
      moment + p_end_from_now * interval '1 millisecond',
      s.created_at + p_end_from_creation * interval '1 millisecond'
    );
    changed := true;
  end if;
  {save}

  if num_nonnulls(variadic p_ttls) > 0 then
    delete from {fields} f where f.session = s.id and f.expires_at <= moment;
  end if;
  hits := 0;
  for i in 1 .. cardinality(p_names) loop
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

create function {take}(
  p_handle bytea, p_secret bytea, p_idle bigint, p_after bigint, p_rotate bytea, p_name text,
  out said text, out ago bigint, out value bytea
) {language} as $$
#variable_conflict use_variable
declare
  {declare}
  expires timestamptz;
begin
  {open}
  delete from {fields} f where f.session = s.id and f.name = p_name
  returning f.value, f.expires_at into value, expires;
  if expires <= moment then
    value := null;
  end if;
  {slide}
  {rotate}
  {save}
  said := 'found';
end $$;

create function {delete}(
  p_handle bytea, p_secret bytea, p_remember bigint, out said text, out ago bigint
) {language} as $$
#variable_conflict use_variable
declare
  {declare}
begin
  {open}
  delete from {fields} f where f.session = s.id;
  update {sessions}
  set ended_at = moment, idle_at = null,
    absolute_at = moment + p_remember * interval '1 millisecond'
  where id = s.id;
  said := 'found';
end $$;
