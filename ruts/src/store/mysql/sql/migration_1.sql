create table if not exists {sessions} (
  number bigint unsigned not null auto_increment primary key,
  id binary(16) not null,
  secret binary(32) not null,
  former_secret binary(32),
  grace bigint,
  grace_until bigint,
  created_at bigint not null,
  issued_at bigint not null,
  used_at bigint not null,
  idle_at bigint,
  absolute_at bigint,
  latest_absolute_at bigint,
  ended_at bigint,
  principal binary(32),
  assurance tinyint,
  signed_in_at bigint,
  delete_at bigint,
  revoked tinyint not null,
  epoch bigint not null,
  cleanup_hour int generated always as (delete_at div 3600000000) stored,
  unique key by_id (id),
  key by_principal (principal, id),
  key by_cleanup_hour (cleanup_hour),
  key by_epoch (epoch)
) engine=InnoDB character set binary;

create table if not exists {fields} (
  session bigint unsigned not null,
  name varbinary(128) not null,
  value longblob not null,
  expires_at bigint,
  cache_policy bigint not null,
  primary key (session, name)
) engine=InnoDB character set binary;

create table if not exists {epoch} (
  one tinyint not null primary key,
  epoch bigint not null
) engine=InnoDB;

create table if not exists {locks} (
  n smallint not null primary key
) engine=InnoDB;
