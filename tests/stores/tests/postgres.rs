//! Tests of PostgreSQL only: creation and checks of its tables, faults of the server and the
//! network, and the cleanup of expired sessions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use ruts::{
    Ttl,
    auth::{Assurance, PrincipalKey},
    store::{
        AuthChange, Change, FieldWrite, NewSignIn, OnLimit, PageRequest, Projection, Refused,
        Renew, RevokeTarget, SessionLimit, Store, StoreErrorKind, Touch, Update,
        postgres::{PostgresStore, PostgresStoreBuilder},
    },
    token::SecretHash,
};
use ruts_tests_stores::{
    Proxy, Traffic, assert_replaceable, assert_unsupported,
    backends::{postgres_on, wait_until_idle},
    error_chain, error_kind, forty_sessions_at_once,
    servers::{PgBouncer, Postgres, Schema},
};
use ruts_tests_support::{
    APPLIED, DELETED, LONG_TIMEOUT, Log, TestSession, random, taken, wait_until,
};
use sqlx::{
    AssertSqlSafe, Executor, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// Timeout of operations that get no answer.
const SHORT: Duration = Duration::from_secs(1);

/// Returns the builder of a store without a cleanup, with a long timeout.
fn builder(pool: &PgPool, schema: &Schema) -> PostgresStoreBuilder {
    PostgresStore::builder(pool.clone())
        .create_tables(true)
        .schema_name(schema.name())
        .timeout(LONG_TIMEOUT)
        .cleanup_interval(None)
}

/// Returns a store in a schema of its own, its pool and its schema.
async fn store(server: &Postgres) -> (Arc<PostgresStore>, PgPool, Schema) {
    let (store, pool, schema) = postgres_on(server).await;
    (Arc::new(store), pool, schema)
}

/// Returns two stores and a pool. The first store has a long timeout and bypasses the proxy. The
/// second store has a short timeout and is behind the proxy. The pool belongs to the second store.
async fn behind(
    proxy: &Proxy,
    server: &Postgres,
    schema: &Schema,
) -> ([Arc<PostgresStore>; 2], PgPool) {
    let url = server.url().replace(&server.address(), proxy.address());
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy(&url).unwrap();
    let patient = builder(&server.pool(1), schema).build().await.unwrap();
    // Connects before the store exists, and so without its short timeout.
    drop(pool.acquire().await.unwrap());
    let impatient = builder(&pool, schema).timeout(SHORT).build().await.unwrap();
    ([Arc::new(patient), Arc::new(impatient)], pool)
}

async fn run(pool: &PgPool, sql: impl Into<String>) {
    pool.execute(sqlx::raw_sql(AssertSqlSafe(sql.into()))).await.unwrap();
}

async fn number(pool: &PgPool, sql: impl Into<String>) -> i64 {
    sqlx::query(AssertSqlSafe(sql.into())).fetch_one(pool).await.unwrap().get(0)
}

/// Closes all connections of a pool.
async fn close_all(pool: &PgPool) {
    wait_until("all connections are idle", async || pool.num_idle() == pool.size() as usize).await;
    while pool.try_acquire().map(sqlx::pool::PoolConnection::detach).is_some() {}
}

/// Waits until a statement of any connection waits for a lock.
async fn wait_for_lock_queue(pool: &PgPool) {
    let sql = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    wait_until("a statement waits for a lock", async || number(pool, sql).await > 0).await;
}

/// Waits until a read finds the value, without a write.
async fn wait_for_value<S: Store>(session: &TestSession<S>, value: &str) {
    let start = Instant::now();
    loop {
        let found = session.get("a").await;
        if found.as_ref().is_ok_and(|found| found.as_deref() == Some(value.as_bytes())) {
            return;
        }
        assert!(start.elapsed() < LONG_TIMEOUT, "{found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

mod tables {
    use super::*;

    #[tokio::test]
    async fn ten_instances_create_the_tables_at_once() {
        let server = Postgres::shared();
        let (pool, schema) = (server.pool(10), server.schema());
        let builds = (0..10).map(|_| tokio::spawn(builder(&pool, &schema).build()));
        let mut stores = Vec::new();
        for build in builds.collect::<Vec<_>>() {
            stores.push(Arc::new(build.await.unwrap().unwrap()));
        }
        let session = TestSession::begin(&stores[0]).await;
        for store in &stores {
            assert_eq!(session.through(store).set("a", "1").await.unwrap(), APPLIED);
        }
        let versions = format!("select count(*) from {}.sessions_migrations", schema.name());
        assert_eq!(number(&pool, versions).await, 1);
    }

    #[tokio::test]
    async fn a_role_that_may_not_create_tables_can_use_them() {
        let server = Postgres::start(&[]);
        let (owner, schema) = (server.pool(1), server.schema());
        let name = schema.name();
        run(&owner, "create role app login").await;
        let url = server.url().replace("postgres@", "app@");
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy(&url).unwrap();
        for create_tables in [true, false] {
            let builder = builder(&pool, &schema).create_tables(create_tables);
            let error = builder.build().await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{}", error_chain(&error));
        }
        run(&owner, builder(&owner, &schema).sql().unwrap()).await;
        run(
            &owner,
            format!(
                "grant usage on schema {name} to app;
                 grant select, insert, update, delete on all tables in schema {name} to app;
                 grant execute on all functions in schema {name} to app"
            ),
        )
        .await;
        for create_tables in [true, false] {
            let builder = builder(&pool, &schema).create_tables(create_tables);
            let session = TestSession::begin(&Arc::new(builder.build().await.unwrap())).await;
            assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
            assert_eq!(session.take("a").await.unwrap(), taken(Some("1".into())));
            assert_eq!(session.delete().await.unwrap(), DELETED);
            assert_eq!(session.store.delete_expired(10).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn a_missing_right_is_refused() {
        let server = Postgres::start(&[]);
        let (_, owner, schema) = store(&server).await;
        let name = schema.name();
        run(
            &owner,
            format!(
                "create role app login;
                 grant usage on schema {name} to app;
                 grant select, insert, update, delete on all tables in schema {name} to app"
            ),
        )
        .await;
        let url = server.url().replace("postgres@", "app@");
        let pool = PgPoolOptions::new().max_connections(2).connect_lazy(&url).unwrap();
        let builder = || builder(&pool, &schema).create_tables(false);
        let store = builder().build().await.unwrap();
        store.check().await.unwrap();
        for (take_away, give_back, reason) in [
            (
                "revoke delete on {}.sessions from app",
                "grant delete on {}.sessions to app",
                "delete on",
            ),
            (
                "revoke execute on all functions in schema {} from public",
                "grant execute on all functions in schema {} to public",
                "execute on",
            ),
            (
                "alter table {}.sessions enable row level security",
                "alter table {}.sessions disable row level security",
                "row-level security",
            ),
            (
                "alter table {0}.sessions_fields enable row level security;
                 create policy app on {0}.sessions_fields for insert with check (true)",
                "alter table {0}.sessions_fields disable row level security",
                "row-level security",
            ),
        ] {
            let of_schema = |sql: &str| sql.replace("{}", name).replace("{0}", name);
            run(&owner, of_schema(take_away)).await;
            for checked in [builder().build().await.map(drop), store.check().await] {
                assert_unsupported(checked, reason);
            }
            run(&owner, of_schema(give_back)).await;
            store.check().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_pooler_that_loses_prepared_statements_is_refused() {
        let server = Postgres::shared();
        for connections in [1, 4] {
            let pooler = PgBouncer::start(server, connections, 0);
            let pool = PgPoolOptions::new().max_connections(4).connect_lazy(pooler.url()).unwrap();
            assert_unsupported(builder(&pool, &server.schema()).build().await, "pooler");
        }
    }

    #[tokio::test]
    async fn two_stores_share_a_database() {
        let server = Postgres::shared();
        let (pool, schema) = (server.pool(4), server.schema());
        let named = |table| builder(&pool, &schema).table_name(table).build();
        let (one, other) = (named("app").await.unwrap(), named("app_2").await.unwrap());
        let error = named("app_fields").await.unwrap_err();
        assert_eq!(
            error.kind(),
            StoreErrorKind::Unsupported,
            "the name should be refused, because it is a companion of `app`"
        );
        let one = TestSession::begin(&Arc::new(one)).await;
        let other = one.through(&Arc::new(other));
        assert_eq!(other.load().await.unwrap(), Err(Refused::NotFound));
        other.create(None).await.unwrap();
        assert_eq!(one.set("a", "1").await.unwrap(), APPLIED);
        assert_eq!(other.get("a").await.unwrap(), None);
        assert_eq!(other.delete().await.unwrap(), DELETED);
        assert_eq!(one.get("a").await.unwrap().unwrap(), "1");
    }

    #[tokio::test]
    async fn an_invalid_name_is_refused() {
        let pool = Postgres::shared().pool(1);
        for name in ["", "a b", "a\"", "a;drop table b", "a'", "\u{fc}", &"a".repeat(51)] {
            let builder = || PostgresStore::builder(pool.clone()).create_tables(true);
            let table = builder().table_name(name);
            assert!(table.sql().is_err(), "{name}");
            assert_eq!(error_kind(table.build().await), StoreErrorKind::Unsupported, "{name}");
            let schema = builder().schema_name(name);
            assert_eq!(error_kind(schema.build().await), StoreErrorKind::Unsupported, "{name}");
        }
    }

    /// Even the names of variables in the functions of the store are valid table names.
    #[tokio::test]
    async fn any_valid_name_works() {
        let server = Postgres::shared();
        let (pool, schema) = (server.pool(2), server.schema());
        for table in [
            "s",
            "f",
            "t",
            "moment",
            "p_session_id",
            "session_id",
            "value",
            "name",
            "touch",
            "outcome",
            "select",
            "Sessions-2",
            "2",
        ] {
            let store = builder(&pool, &schema).table_name(table).build().await.unwrap();
            let session = TestSession::begin(&Arc::new(store)).await;
            assert_eq!(session.set("a", "1").await.unwrap(), APPLIED, "{table}");
            let next = SecretHash::from_bytes(random());
            assert_eq!(session.rotate(&next).await.unwrap(), APPLIED, "{table}");
            let session = session.with_secret(next);
            assert!(session.load_and_touch().await.unwrap().is_ok(), "{table}");
            assert_eq!(session.take("a").await.unwrap(), taken(Some("1".into())));
            assert_eq!(session.delete().await.unwrap(), DELETED, "{table}");
            let ended = session.load_and_touch().await.unwrap();
            assert!(matches!(ended, Err(Refused::Deleted { .. })), "{table}");
            session.store.delete_expired(1).await.unwrap();
        }
    }

    /// A role that may create operators in a schema of the search path cannot make the store call
    /// them.
    #[tokio::test]
    async fn operators_of_other_schemas_are_not_called() {
        let server = Postgres::shared();
        let (owner, schema, trap) = (server.pool(1), server.schema(), server.schema());
        let name = trap.name();
        let mut sql = format!("create schema {name};");
        for (left, right) in [
            ("bigint", "interval"),
            ("bigint", "double precision"),
            ("double precision", "integer"),
            ("double precision", "bigint"),
            ("bytea", "text"),
        ] {
            for operator in ["*", "/", "-", "=", ">=", "<="] {
                let function = format!("{name}.trap(a {left}, b {right})");
                sql.push_str(&format!(
                    "create or replace function {function} returns boolean language plpgsql
                     as $$ begin raise exception 'caught'; end $$;
                     create operator {name}.{operator} (leftarg={left}, rightarg={right},
                       function={name}.trap);"
                ));
            }
        }
        run(&owner, sql).await;
        let path = format!("set search_path = {name}, public");
        let pool = PgPoolOptions::new().max_connections(1).after_connect(move |connection, _| {
            let path = path.clone();
            Box::pin(async move { connection.execute(AssertSqlSafe(path)).await.map(drop) })
        });
        let pool = pool.connect_lazy(server.url()).unwrap();
        let store = Arc::new(builder(&pool, &schema).build().await.unwrap());
        let session = TestSession::begin(&store).await;
        let hour = Duration::from_secs(3600);
        assert_eq!(session.set_with_ttl("a", "1", Some(hour)).await.unwrap(), APPLIED);
        let loaded = session.load_and_touch().await.unwrap().unwrap();
        assert!(loaded.fields[0].ttl.unwrap() <= hour);
        assert!(session.load().await.unwrap().is_ok());
        assert_eq!(session.take("a").await.unwrap(), taken(Some("1".into())));
        assert_eq!(session.delete().await.unwrap(), DELETED);
        store.delete_expired(1).await.unwrap();
    }

    #[tokio::test]
    async fn two_stores_are_created_in_a_new_schema_at_once() {
        let server = Postgres::shared();
        for _ in 0..5 {
            let (pool, schema) = (server.pool(2), server.schema());
            let named = |table| tokio::spawn(builder(&pool, &schema).table_name(table).build());
            let (one, other) = tokio::join!(named("one"), named("other"));
            one.unwrap().unwrap();
            other.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn the_sql_can_be_run_again() {
        let server = Postgres::start(&[]);
        let pool = server.pool(2);
        for schema in ["Tenant-7", "again"] {
            let builder = || PostgresStore::builder(pool.clone()).schema_name(schema);
            let sql = builder().sql().unwrap();
            run(&pool, &*sql).await;
            let session = TestSession::begin(&Arc::new(builder().build().await.unwrap())).await;
            run(&pool, &*sql).await;
            let store = Arc::new(builder().create_tables(true).build().await.unwrap());
            assert!(session.through(&store).load().await.unwrap().is_ok());
            run(&pool, format!("drop schema \"{schema}\" cascade")).await;
            let store = Arc::new(builder().create_tables(true).build().await.unwrap());
            TestSession::begin(&store).await;
            run(&pool, &*sql).await;
        }
    }

    #[tokio::test]
    async fn the_sql_runs_as_a_whole_or_not_at_all() {
        let server = Postgres::shared();
        let (pool, schema) = (server.pool(1), server.schema());
        let name = schema.name();
        // A table of another application has the name of the second table.
        run(&pool, format!("create schema {name}; create table {name}.sessions_fields ()")).await;
        let sql = builder(&pool, &schema).sql().unwrap();
        let mut connection = pool.acquire().await.unwrap();
        let outcome = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        assert!(outcome.is_err());
        connection.execute("rollback").await.unwrap();
        drop(connection);
        let tables =
            format!("select count(*) from pg_class where relnamespace = '{name}'::regnamespace");
        assert_eq!(number(&pool, tables).await, 1);
        let built = builder(&pool, &schema).build().await;
        assert_eq!(error_kind(built), StoreErrorKind::Unsupported);
    }

    #[tokio::test]
    async fn tables_of_another_version_are_refused() {
        let (_, pool, schema) = store(Postgres::shared()).await;
        run(&pool, format!("insert into {}.sessions_migrations values (99)", schema.name())).await;
        assert_unsupported(builder(&pool, &schema).build().await, "version 99");
    }

    #[tokio::test]
    async fn another_default_isolation_is_refused() {
        let server = Postgres::start(&["default_transaction_isolation=repeatable read"]);
        assert_unsupported(
            builder(&server.pool(1), &server.schema()).build().await,
            "read committed",
        );
    }

    /// It is then not known which sessions `revoke_everyone` has ended.
    #[tokio::test]
    async fn a_lost_epoch_is_refused() {
        let server = Postgres::shared();
        let (store, pool, schema) = store(server).await;
        let session = TestSession::begin(&store).await;
        run(&pool, format!("delete from {}.sessions_epoch", schema.name())).await;
        assert_eq!(error_kind(store.revoke_everyone().await), StoreErrorKind::Corrupt);
        assert_eq!(session.set("a", "1").await.unwrap(), Err(Refused::Revoked));
        assert_unsupported(store.check().await, "the epoch has no row");
        assert_unsupported(builder(&pool, &schema).build().await, "the epoch has no row");
    }

    /// `SQL_ASCII` stands for bytes of any encoding.
    #[tokio::test]
    async fn a_database_of_another_encoding_is_refused() {
        let server = Postgres::start(&[]);
        for (encoding, is_suitable) in [("LATIN1", false), ("EUC_JP", false), ("SQL_ASCII", true)] {
            let name = encoding.to_lowercase();
            run(
                &server.pool(1),
                format!(
                    "create database {name} template template0 encoding '{encoding}'
                     lc_collate 'C' lc_ctype 'C'"
                ),
            )
            .await;
            let options = server.pool(1).connect_options().as_ref().clone().database(&name);
            let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
            let built = builder(&pool, &server.schema()).build().await;
            if is_suitable {
                let session = TestSession::begin(&Arc::new(built.unwrap())).await;
                assert_eq!(session.set("größe ✓", "1").await.unwrap(), APPLIED);
                assert_eq!(session.get("größe ✓").await.unwrap().unwrap(), "1");
            } else {
                assert_unsupported(built, "encoding");
            }
        }
    }

    #[tokio::test]
    async fn a_read_only_database_without_tables_is_refused() {
        let server = Postgres::start(&["default_transaction_read_only=on"]);
        let built = builder(&server.pool(1), &server.schema()).build().await;
        assert_unsupported(built, "default_transaction_read_only");
    }

    #[tokio::test]
    async fn dropped_tables_are_an_error() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        let session = TestSession::begin(&store).await;
        run(&pool, format!("drop schema {} cascade", schema.name())).await;
        assert_eq!(error_kind(session.load().await), StoreErrorKind::Unsupported);
        assert_eq!(error_kind(session.set("a", "1").await), StoreErrorKind::Unsupported);
    }

    /// A read probes one index for the session and one for its fields, regardless of the number of
    /// sessions. The server logs the plans of the store's own statements.
    #[tokio::test]
    async fn every_statement_finds_its_rows_by_an_index() {
        let server = Postgres::start(&[
            "session_preload_libraries=auto_explain",
            "auto_explain.log_min_duration=0",
            "auto_explain.log_nested_statements=on",
        ]);
        let (store, pool, schema) = store(&server).await;
        let name = schema.name();
        run(
            &pool,
            format!(
                "insert into {name}.sessions
                   (session_id, secret, created_at, issued_at, used_at, idle_at, epoch, principal,
                   assurance, signed_in_at)
                 select decode(md5(i::text), 'hex'), '', now(), now(), now(),
                   now() + (3600 + i) * interval '1 s', 0, decode(lpad(to_hex(i % 5000), 64, '0'), 'hex'),
                   1, now()
                 from generate_series(1, 20000) i;
                 insert into {name}.sessions_fields (session, name, value, cache_policy)
                 select id, f, '', 0 from {name}.sessions, unnest(array['a', 'b']) f;
                 analyze {name}.sessions; analyze {name}.sessions_fields"
            ),
        )
        .await;
        let log_since = |begin: usize| server.log()[begin..].to_owned();
        let without_epoch = |log: &str| log.replace("Seq Scan on sessions_epoch", "");
        let session = TestSession::begin(&store).await;
        let mut others = Vec::new();
        for _ in 0..12 {
            others.push(TestSession::begin(&store).await);
        }
        // From the sixth time on, the server may use one plan for all parameters.
        for round in 0..7 {
            let begin = server.log().len();
            session.get("a").await.unwrap();
            let read = log_since(begin);
            for index in ["sessions_session_id_key", "sessions_fields_pkey"] {
                let scans = read.matches(&format!("Index Scan using {index}")).count();
                assert_eq!(scans, 1, "{read}");
            }

            assert_eq!(session.set("a", &round.to_string()).await.unwrap(), APPLIED);
            assert!(session.load_and_touch().await.unwrap().is_ok());
            assert!(session.take("a").await.unwrap().is_ok());
            let all = log_since(begin);
            // The table of the epoch has one row, so the server may scan it.
            assert!(!without_epoch(&all).contains("Seq Scan"), "{all}");

            let begin = server.log().len();
            let mut many = tokio::task::JoinSet::new();
            for session in &others {
                let (reader, writer) = (session.clone(), session.clone());
                many.spawn(async move { reader.get("a").await.map(drop) });
                many.spawn(async move { writer.set("a", "1").await.map(drop) });
            }
            many.join_all().await.into_iter().for_each(Result::unwrap);
            let batches = without_epoch(&log_since(begin));
            assert!(batches.contains("Function Scan on q"), "{batches}");
            assert!(!batches.contains("Seq Scan"), "{batches}");

            let begin = server.log().len();
            let mut seven = [0; 32];
            seven[31] = 7;
            let principal = PrincipalKey::from_bytes(seven);
            let page = PageRequest::new(None, 10);
            let listed = store.list_by_principal(&principal, page, Projection::All).await.unwrap();
            assert_eq!(listed.sessions.len(), 4 - usize::from(round > 0));
            let first = listed.sessions[0].id;
            if round == 0 {
                store.revoke(&principal, RevokeTarget::One(&first)).await.unwrap();
            }
            let lists = without_epoch(&log_since(begin));
            assert!(lists.contains("sessions_principal"), "{lists}");
            assert!(!lists.contains("Seq Scan"), "{lists}");

            let begin = server.log().len();
            store.delete_expired(10).await.unwrap();
            let cleanup = log_since(begin);
            assert!(cleanup.contains("sessions_cleanup_hour"), "{cleanup}");
            assert!(!cleanup.contains("Seq Scan on sessions "), "{cleanup}");
        }
    }

    /// The server makes a generic plan once, by the size of the tables at that time. The plan must
    /// stay fast when the tables grow and no statistics are gathered.
    #[tokio::test]
    async fn plans_for_small_tables_stay_probes_of_an_index() {
        for analyzed_at in [0, 1, 60] {
            let server = Postgres::start(&["autovacuum=off"]);
            let (pool, schema) = (server.pool(1), server.schema());
            let name = schema.name();
            let store = Arc::new(builder(&pool, &schema).build().await.unwrap());
            let grow = async |from: usize, to: usize| {
                let sql = format!(
                    "insert into {name}.sessions
                       (session_id, secret, created_at, issued_at, used_at, idle_at, epoch,
                       principal, assurance, signed_in_at)
                     select sha256(i::text::bytea), '', now(), now(), now(),
                       now() + (3600 + i) * interval '1 s', 0, sha256((i % 5000)::text::bytea), 1,
                       now()
                     from generate_series({from} + 1, {to}) i;
                     insert into {name}.sessions_fields (session, name, value, cache_policy)
                     select s.id, f, '', 0 from {name}.sessions s, unnest(array['x', 'y', 'z']) f
                     where not exists
                       (select from {name}.sessions_fields o where o.session = s.id and o.name = f)"
                );
                run(&pool, sql).await;
            };
            grow(0, analyzed_at).await;
            run(&pool, format!("vacuum analyze {name}.sessions, {name}.sessions_fields")).await;
            // From the sixth time on, the server may use one plan for all parameters.
            for _ in 0..7 {
                each_operation(&store, async |_| {}).await;
            }
            grow(analyzed_at, 20_000).await;
            let rows_read = async || {
                run(&pool, "select pg_stat_force_next_flush()").await;
                let sql = format!(
                    "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint
                     from pg_stat_user_tables
                     where schemaname = '{name}' and relname in ('sessions', 'sessions_fields')"
                );
                number(&pool, sql).await
            };
            let mut before = rows_read().await;
            let mut many = Vec::new();
            each_operation(&store, async |operation| {
                let now = rows_read().await;
                if now - before > 500 {
                    many.push((operation.to_owned(), now - before));
                }
                before = now;
            })
            .await;
            assert!(
                many.is_empty(),
                "no operation should read more than 500 rows after {analyzed_at} sessions: {many:?}"
            );
        }
    }

    /// Runs each operation of a store, and batches of reads and writes. Calls `done` after each.
    async fn each_operation(store: &Arc<PostgresStore>, mut done: impl AsyncFnMut(&str)) {
        let hour = Ttl::from_secs(3600);
        let principal = PrincipalKey::from_bytes(random());
        let who = NewSignIn::new(&principal, Assurance::Aal1)
            .limit(SessionLimit::new(2, OnLimit::EndOldest));
        let session = TestSession::new(store);
        store.create(session.creation().idle(hour).sign_in(who)).await.unwrap();
        done("create").await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        done("set").await;
        let value = Bytes::from_static(b"1");
        let set = Change::Set(FieldWrite::new("b", &value).ttl(hour));
        let changes = [set, Change::Expire("a", hour), Change::Remove("absent")];
        assert!(session.change(&changes).await.unwrap().is_ok());
        done("change").await;
        assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
        done("load").await;
        assert!(session.load().await.unwrap().is_ok());
        done("load all").await;
        assert!(session.load_and_touch().await.unwrap().is_ok());
        done("touch").await;
        assert_eq!(session.take("a").await.unwrap(), taken(Some("1".into())));
        done("take").await;
        assert!(store.inspect(&session.id).await.unwrap().is_some());
        done("inspect").await;
        let guest = TestSession::begin(store).await;
        let sign = AuthChange::In { who, idle: Some(hour), absolute: None };
        assert_eq!(guest.update(Update::new(&[]).auth_change(sign)).await.unwrap(), APPLIED);
        done("sign in").await;
        let page = PageRequest::new(None, 10);
        let listed = store.list_by_principal(&principal, page, Projection::All).await.unwrap();
        assert_eq!(listed.sessions.len(), 2);
        done("list").await;
        let target = RevokeTarget::All { except: Some(&session.id) };
        assert_eq!(store.revoke(&principal, target).await.unwrap().answer, [guest.id]);
        done("revoke").await;
        let mut many = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let other = TestSession::begin(store).await;
            let reader = other.clone();
            many.spawn(async move { reader.get("a").await.map(drop) });
            many.spawn(async move { other.set("a", "1").await.map(drop) });
        }
        many.join_all().await.into_iter().for_each(Result::unwrap);
        done("batches").await;
        assert_eq!(session.delete().await.unwrap(), DELETED);
        done("delete").await;
        store.delete_expired(10).await.unwrap();
        done("delete expired").await;
    }

    /// A user can have many live sessions, so each statement ends only a bounded number of them.
    #[tokio::test]
    async fn a_principal_with_many_sessions_is_worked_off_in_steps() {
        const LIVE: i64 = 3000;
        let server = Postgres::start(&["track_functions=pl"]);
        let (pool, schema) = (server.pool(1), server.schema());
        let name = schema.name();
        let store = Arc::new(builder(&pool, &schema).build().await.unwrap());
        let principal = PrincipalKey::from_bytes([7; 32]);
        let fill = async || {
            let sql = format!(
                "insert into {name}.sessions
                   (session_id, secret, created_at, issued_at, used_at, idle_at, epoch, principal,
                   assurance, signed_in_at)
                 select decode(md5(i::text), 'hex'), '', now(), now(), now(),
                   now() + interval '1 hour', 0, decode(repeat('07', 32), 'hex'), 1,
                   now() - i * interval '1 s'
                 from generate_series(1, {LIVE}) i
                 on conflict (session_id) do update
                 set principal = excluded.principal, assurance = 1, signed_in_at = excluded.signed_in_at,
                   idle_at = excluded.idle_at, absolute_at = null, ended_at = null, revoked = false;
                 insert into {name}.sessions_fields (session, name, value, cache_policy)
                 select id, 'a', '', 0 from {name}.sessions on conflict do nothing;
                 vacuum analyze {name}.sessions, {name}.sessions_fields"
            );
            for sql in sql.split_inclusive(';') {
                run(&pool, sql.to_owned()).await;
            }
        };
        // Returns the number of calls of the functions, and of rows that they read.
        let work = async || {
            run(&pool, "select pg_stat_force_next_flush()").await;
            let calls = format!(
                "select coalesce(sum(calls), 0)::bigint from pg_stat_user_functions
                 where schemaname = '{name}'"
            );
            let rows = format!(
                "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint
                 from pg_stat_user_tables
                 where schemaname = '{name}' and relname in ('sessions', 'sessions_fields')"
            );
            (number(&pool, calls).await, number(&pool, rows).await)
        };
        let assert_steps = async |before: (i64, i64), least: i64, what: &str| {
            let after = work().await;
            let (calls, rows) = (after.0 - before.0, after.1 - before.1);
            assert!(
                calls >= least,
                "{what}: at least {least} calls should be made, but {calls} were"
            );
            assert!(
                rows / calls <= 2000,
                "{what}: a call should read at most 2000 rows, but {calls} calls read {rows}"
            );
        };
        let sign_in = async |limit: SessionLimit| {
            let session = TestSession::new(&store);
            let who = NewSignIn::new(&principal, Assurance::Aal1).limit(limit);
            let hour = Ttl::from_secs(3600);
            store.create(session.creation().idle(hour).sign_in(who)).await.map(|_| session)
        };
        let live = format!(
            "select count(*) from {name}.sessions where principal is not null and ended_at is null"
        );

        fill().await;
        let before = work().await;
        let refused = sign_in(SessionLimit::new(3, OnLimit::Reject)).await.map(drop);
        assert_eq!(error_kind(refused), StoreErrorKind::SessionLimit);
        assert_steps(before, 1, "a sign-in that is refused").await;
        assert_eq!(number(&pool, live.clone()).await, LIVE);

        let before = work().await;
        let session = sign_in(SessionLimit::new(3, OnLimit::EndOldest)).await.unwrap();
        assert_steps(before, LIVE / 100, "a sign-in above the limit").await;
        let latest = format!(
            "select count(*) from {name}.sessions
             where principal is not null and signed_in_at > now() - interval '1 hour'
               and (session_id in (decode(md5('1'), 'hex'), decode(md5('2'), 'hex'))
                 or secret <> '')"
        );
        assert_eq!(number(&pool, live.clone()).await, 3);
        assert_eq!(number(&pool, latest).await, 3, "the latest sessions should stay");

        fill().await;
        let before = work().await;
        let target = RevokeTarget::All { except: Some(&session.id) };
        let ended = store.revoke(&principal, target).await.unwrap().answer;
        assert_eq!(ended.len() as i64, LIVE);
        assert_steps(before, LIVE / 100, "a revocation of all").await;
        assert!(session.load().await.unwrap().is_ok());
        assert_eq!(number(&pool, live).await, 1);
        assert_eq!(store.revoke(&principal, target).await.unwrap().answer, []);
    }

    /// A touch and a write change no indexed column, so that the new version of the row stays on
    /// its page.
    #[tokio::test]
    async fn updates_stay_on_their_page() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        let session = TestSession::begin(&store).await;
        assert_eq!(session.set("a", "0").await.unwrap(), APPLIED);
        for round in 1..=50 {
            assert_eq!(session.set("a", &round.to_string()).await.unwrap(), APPLIED);
            assert!(session.load_and_touch().await.unwrap().is_ok());
        }
        let count = |column, table| {
            let sql = format!(
                "select sum(pg_stat_get_{column}(oid))::bigint from pg_class
                 where relname = '{table}' and relnamespace = '{}'::regnamespace",
                schema.name()
            );
            let pool = pool.clone();
            async move { number(&pool, sql).await }
        };
        for table in ["sessions", "sessions_fields"] {
            wait_until("the server has counted the updates", async || {
                count("tuples_updated", table).await >= 50
            })
            .await;
            let updated = count("tuples_updated", table).await;
            let same_page = count("tuples_hot_updated", table).await;
            assert!(same_page * 10 >= updated * 9, "{table}: {same_page} of {updated}");
        }
    }
}

mod faults {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_dead_server_fails_operations_until_it_is_back() {
        let server = Postgres::start(&["fsync=on", "synchronous_commit=on"]);
        let (store, _, schema) = store(&server).await;
        let session = TestSession::begin(&store).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        let pool = server.pool(4);
        drop(pool.acquire().await.unwrap());
        let impatient = builder(&pool, &schema).timeout(SHORT).build().await.unwrap();
        let impatient = session.through(&Arc::new(impatient));
        server.kill();
        for _ in 0..3 {
            let kind = error_kind(impatient.set("b", "2").await);
            let expected = [StoreErrorKind::Unavailable, StoreErrorKind::OutcomeUnknown];
            assert!(expected.contains(&kind), "{kind:?}");
        }
        server.restart();
        wait_for_value(&session, "1").await;
        assert_eq!(
            session.get("b").await.unwrap(),
            None,
            "a failed write should not be carried out"
        );
    }

    #[tokio::test]
    async fn a_write_without_an_answer_is_unknown_and_carried_out_once() {
        let server = Postgres::shared();
        let proxy = Proxy::before(&server.address()).await;
        let schema = server.schema();
        for traffic in [Traffic::CutAnswersAfter(0), Traffic::CutAnswersAfter(20), Traffic::Hold] {
            let ([patient, impatient], pool) = behind(&proxy, server, &schema).await;
            let session = TestSession::begin(&patient).await;
            let impatient = session.through(&impatient);
            assert_eq!(impatient.set("a", "1").await.unwrap(), APPLIED);
            wait_until_idle(&pool).await;
            proxy.set(traffic);
            let kind = error_kind(impatient.set("a", "2").await);
            assert_eq!(kind, StoreErrorKind::OutcomeUnknown, "{traffic:?}");
            // The network may deliver the write at any time.
            proxy.set(Traffic::Forward);
            wait_for_value(&session, "2").await;
        }
    }

    #[tokio::test]
    async fn a_read_on_a_dead_connection_is_repeated() {
        let server = Postgres::start(&[]);
        let (store, _pool, _schema) = store(&server).await;
        let session = TestSession::begin(&store).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        let admin = server.pool(1);
        for _ in 0..3 {
            let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                       where pid <> pg_backend_pid() and backend_type = 'client backend'";
            assert!(number(&admin, end).await > 0);
            assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
        }
    }

    /// The store learns that the server closed an idle connection only when it sends a statement.
    #[tokio::test]
    async fn connections_that_the_server_closed_fail_no_read() {
        let server = Postgres::start(&["idle_session_timeout=300ms"]);
        let (store, _pool, _schema) = store(&server).await;
        let session = TestSession::begin(&store).await;
        for _ in 0..3 {
            let _ = tokio::join!(session.load(), session.load(), session.load());
            tokio::time::sleep(Duration::from_millis(500)).await;
            for _ in 0..3 {
                assert!(session.load().await.unwrap().is_ok());
            }
        }
    }

    #[tokio::test]
    async fn connections_that_the_server_closed_fail_no_write() {
        let server = Postgres::start(&[]);
        let (store, pool, _schema) = store(&server).await;
        run(&pool, "alter system set idle_session_timeout = '100ms'").await;
        run(&pool, "select pg_reload_conf()").await;
        // The setting applies to an open connection only from its next idle period on.
        close_all(&pool).await;
        let principal = PrincipalKey::from_bytes(random());
        let who = NewSignIn::new(&principal, Assurance::Aal1);
        for _ in 0..3 {
            let session = TestSession::begin(&store).await;
            wait_until_closed_by_the_server(&server, &pool).await;
            assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
            wait_until_closed_by_the_server(&server, &pool).await;
            let sign = AuthChange::In { who, idle: None, absolute: None };
            assert_eq!(session.update(Update::new(&[]).auth_change(sign)).await.unwrap(), APPLIED);
            wait_until_closed_by_the_server(&server, &pool).await;
            let target = RevokeTarget::One(&session.id);
            assert_eq!(store.revoke(&principal, target).await.unwrap().answer, [session.id]);
        }
    }

    /// Waits until the server has closed every idle connection of a pool. The pool does not notice.
    async fn wait_until_closed_by_the_server(server: &Postgres, pool: &PgPool) {
        wait_until_idle(pool).await;
        // The server must not close the connection of this query too.
        let own: PgConnectOptions = server.url().parse().unwrap();
        let own = own.options([("idle_session_timeout", "0")]);
        let admin = PgPoolOptions::new().max_connections(1).connect_lazy_with(own);
        let sql = "select count(*) from pg_stat_activity
                   where pid <> pg_backend_pid() and backend_type = 'client backend'";
        wait_until("the server closes connections", async || number(&admin, sql).await == 0).await;
    }

    /// The store tests an idle connection before a write. So no write fails if the connection was
    /// closed or stopped responding.
    #[tokio::test]
    async fn an_idle_connection_that_was_cut_fails_no_write() {
        let server = Postgres::shared();
        let proxy = Proxy::before(&server.address()).await;
        let url = server.url().replace(&server.address(), proxy.address());
        let pool = PgPoolOptions::new().max_connections(3).connect_lazy(&url).unwrap();
        let schema = server.schema();
        let builder = builder(&pool, &schema).test_idle_after(Duration::ZERO);
        let store = Arc::new(builder.build().await.unwrap());
        let session = TestSession::begin(&store).await;
        for value in ["1", "2", "3"] {
            let connections = [pool.acquire().await, pool.acquire().await, pool.acquire().await];
            drop(connections);
            wait_until("all connections are idle", async || pool.num_idle() == 3).await;
            proxy.silence_present();
            assert_eq!(session.set("a", value).await.unwrap(), APPLIED);
            wait_until_idle(&pool).await;
            proxy.set(Traffic::Disconnect);
            proxy.set(Traffic::Forward);
            assert_eq!(session.set("b", value).await.unwrap(), APPLIED);
            assert_eq!(session.get("b").await.unwrap().unwrap(), value);
        }
    }

    /// All connections in use stop responding, but new ones would work.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn unresponsive_connections_in_use_leave_room_for_new_ones() {
        let server = Postgres::shared();
        let proxy = Proxy::before(&server.address()).await;
        let url = server.url().replace(&server.address(), proxy.address());
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy(&url).unwrap();
        let schema = server.schema();
        // Idle connections are not tested before use.
        let builder = builder(&pool, &schema).test_idle_after(LONG_TIMEOUT);
        let store = Arc::new(builder.timeout(Duration::from_secs(2)).build().await.unwrap());
        let session = TestSession::begin(&store).await;
        let mut others = Vec::new();
        for _ in 0..4 {
            others.push(TestSession::begin(&store).await);
        }
        let mut connections = Vec::new();
        for _ in 0..4 {
            connections.push(pool.acquire().await.unwrap());
        }
        drop(connections);
        wait_until("all connections are idle", async || pool.num_idle() == 4).await;
        proxy.silence_present();
        let takes = others.into_iter().map(|other| async move { other.take("a").await });
        let takes: Vec<_> = takes.map(tokio::spawn).collect();
        for take in takes {
            assert_eq!(error_kind(take.await.unwrap()), StoreErrorKind::OutcomeUnknown);
        }
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    }

    /// The connection stops responding after the answer, before the pool has tested it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_connection_that_stops_responding_on_its_return_is_replaced() {
        let server = Postgres::shared();
        let proxy = Proxy::before(&server.address()).await;
        let ([_, store], pool) = behind(&proxy, server, &server.schema()).await;
        let session = TestSession::begin(&store).await;
        let is_silenced = async || {
            // Prepares the statement. On a slow machine, the short timeout may pass.
            if session.set("a", "1").await.is_err() {
                return false;
            }
            wait_until("the connection is idle", async || pool.num_idle() == 1).await;
            proxy.set(Traffic::HoldAfter(1));
            let answer = session.set("a", "2").await;
            proxy.silence_present();
            answer.is_ok()
        };
        wait_until("the connection stops responding", is_silenced).await;
        wait_until("a new connection is used", async || session.load().await.is_ok()).await;
    }

    /// A statement is sent again if its connection ends before the server reports it as done.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_write_whose_connection_is_terminated_is_carried_out_once() {
        let server = Postgres::start(&[]);
        let (store, pool, schema) = store(&server).await;
        let session = TestSession::begin(&store).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        let admin = server.pool(1);
        let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                   where pid <> pg_backend_pid() and backend_type = 'client backend'";
        for value in ["2", "3", "4"] {
            assert!(number(&admin, end).await > 0);
            assert_eq!(session.set("a", value).await.unwrap(), APPLIED);
        }
        let mut holder = pool.begin().await.unwrap();
        let lock = format!("select 1 from {}.sessions for update", schema.name());
        holder.execute(AssertSqlSafe(lock)).await.unwrap();
        let taker = session.clone();
        let taking = tokio::spawn(async move { taker.take("a").await });
        wait_for_lock_queue(&admin).await;
        number(&admin, format!("{end} and wait_event_type = 'Lock'")).await;
        holder.rollback().await.unwrap();
        assert_eq!(taking.await.unwrap().unwrap(), taken(Some("4".into())));
    }

    /// Other code may use the connections of the store.
    #[tokio::test]
    async fn lost_prepared_statements_fail_no_operation() {
        let (store, pool, _schema) = store(Postgres::shared()).await;
        let session = TestSession::begin(&store).await;
        for forget in ["deallocate all", "discard all"] {
            assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
            assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
            wait_until("all connections are idle", async || {
                pool.num_idle() == pool.size() as usize
            })
            .await;
            let mut connections = Vec::new();
            while let Some(connection) = pool.try_acquire() {
                connections.push(connection);
            }
            for connection in &mut connections {
                connection.execute(sqlx::raw_sql(forget)).await.unwrap();
            }
            drop(connections);
            wait_until_idle(&pool).await;
            assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
            assert_eq!(session.take("a").await.unwrap(), taken(Some("1".into())));
        }
    }

    /// After a failover the address leads to the new primary, but open connections lead to the old
    /// one.
    #[tokio::test]
    async fn connections_to_a_standby_are_replaced() {
        let (old, new) = (Postgres::start(&[]), Postgres::start(&[]));
        let (pool, schema) = (old.pool(4), old.schema());
        let store = Arc::new(builder(&pool, &schema).build().await.unwrap());
        let there = Arc::new(builder(&new.pool(1), &schema).build().await.unwrap());
        let session = TestSession::begin(&there).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        let session = session.through(&store);
        old.stop();
        old.restart_as_standby();
        for round in 0..2 {
            pool.set_connect_options(old.url().parse().unwrap());
            close_all(&pool).await;
            let mut connections = Vec::new();
            for _ in 0..4 {
                connections.push(pool.acquire().await.unwrap());
            }
            drop(connections);
            wait_until("all connections are idle", async || pool.num_idle() == 4).await;
            assert_eq!(error_kind(session.load().await), StoreErrorKind::Unsupported);
            assert_eq!(error_kind(store.inspect(&session.id).await), StoreErrorKind::Unsupported);
            assert_eq!(error_kind(store.expiry(&session.id).await), StoreErrorKind::Unsupported);
            assert_eq!(error_kind(session.set("a", "2").await), StoreErrorKind::Unavailable);
            pool.set_connect_options(new.url().parse().unwrap());
            if round == 0 {
                assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
            } else {
                assert_eq!(session.take("a").await.unwrap(), taken(Some("1".into())));
            }
        }
    }

    /// The pool may open more connections than the role may have.
    #[tokio::test]
    async fn a_limit_of_connections_below_that_of_the_pool_fails_nothing() {
        let server = Postgres::start(&[]);
        let (owner, schema) = (server.pool(1), server.schema());
        run(&owner, "create role app login superuser").await;
        let url = server.url().replace("postgres@", "app@");
        let pool = PgPoolOptions::new().max_connections(6).connect_lazy(&url).unwrap();
        let store = Arc::new(builder(&pool, &schema).build().await.unwrap());
        close_all(&pool).await;
        run(&owner, "alter role app nosuperuser connection limit 2").await;
        run(
            &owner,
            format!(
                "grant all on schema {0} to app; grant all on all tables in schema {0} to app",
                schema.name()
            ),
        )
        .await;
        forty_sessions_at_once(&store).await;
    }

    /// The application shares the pool with the store, and leaves something on its connection.
    async fn left_on_the_connection(leave: &str) {
        let server = Postgres::shared();
        let (pool, schema) = (server.pool(1), server.schema());
        let store = Arc::new(builder(&pool, &schema).build().await.unwrap());
        let other = Arc::new(builder(&server.pool(1), &schema).build().await.unwrap());
        let session = TestSession::begin(&store).await;
        let elsewhere = session.through(&other);
        let leave_it = async || {
            // A statement of a failed transaction is an error.
            let _ = pool.execute(sqlx::raw_sql(AssertSqlSafe(leave))).await;
            wait_until("the connection is idle", async || pool.num_idle() == 1).await;
        };
        leave_it().await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED, "{leave}");
        assert_eq!(elsewhere.get("a").await.unwrap().unwrap(), "1", "{leave}");
        leave_it().await;
        assert_eq!(session.take("a").await.unwrap(), taken(Some("1".into())), "{leave}");
        assert_eq!(elsewhere.get("a").await.unwrap(), None, "{leave}");
        leave_it().await;
        assert!(session.load_and_touch().await.unwrap().is_ok(), "{leave}");
        leave_it().await;
        // The first read in a repeatable transaction determines what all of its reads find.
        assert!(session.load().await.unwrap().is_ok(), "{leave}");
        assert_eq!(elsewhere.delete().await.unwrap(), DELETED, "{leave}");
        let ended = session.load().await.unwrap();
        assert!(matches!(ended, Err(Refused::Deleted { .. })), "{leave}: {ended:?}");
        let (one, two) = (TestSession::begin(&other).await, TestSession::begin(&other).await);
        leave_it().await;
        assert_eq!(one.through(&store).delete().await.unwrap(), DELETED, "{leave}");
        let ended = one.load().await.unwrap();
        assert!(matches!(ended, Err(Refused::Deleted { .. })), "{leave}: {ended:?}");
        leave_it().await;
        store.revoke_everyone().await.unwrap();
        assert_eq!(two.load().await.unwrap(), Err(Refused::Revoked), "{leave}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_open_transaction_of_the_application_is_left_and_logged() {
        let (log, _guard) = Log::start();
        for leave in [
            "begin",
            "begin isolation level repeatable read",
            "begin read only",
            "begin; select 1/0",
        ] {
            left_on_the_connection(leave).await;
        }
        assert!(log.text().contains("left a transaction open"), "{}", log.text());
    }

    /// A pooler prepares a statement in the transaction of its first execution on a connection to
    /// the server.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_pooler_leaves_no_transaction_open() {
        let server = Postgres::start(&[]);
        let pooler = PgBouncer::start(&server, 3, 100);
        let pool = PgPoolOptions::new().max_connections(8).connect_lazy(pooler.url()).unwrap();
        let store = Arc::new(builder(&pool, &server.schema()).build().await.unwrap());
        forty_sessions_at_once(&store).await;
        assert!(!server.log().contains("left a transaction open"), "{}", server.log());
    }

    /// The connections of one process are closed at most once a second for this reason.
    #[tokio::test]
    async fn a_role_that_the_application_set_is_left() {
        let server = Postgres::start(&[]);
        let (pool, schema) = (server.pool(1), server.schema());
        run(&pool, "create role stranger").await;
        let store = Arc::new(builder(&pool, &schema).build().await.unwrap());
        let session = TestSession::begin(&store).await;
        run(&pool, "set role stranger").await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
        run(&pool, "set role stranger").await;
        assert_eq!(error_kind(session.set("a", "2").await), StoreErrorKind::Unsupported);
    }

    #[tokio::test]
    async fn a_missing_right_at_run_time_closes_few_connections() {
        let server = Postgres::start(&["log_connections=on"]);
        let (owner, schema) = (server.pool(1), server.schema());
        run(&owner, "create role app login superuser").await;
        let url = server.url().replace("postgres@", "app@");
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy(&url).unwrap();
        builder(&owner, &schema).build().await.unwrap();
        let store = Arc::new(builder(&pool, &schema).build().await.unwrap());
        let session = TestSession::begin(&store).await;
        run(&owner, "alter role app nosuperuser").await;
        let start = Instant::now();
        for _ in 0..50 {
            assert_eq!(error_kind(session.set("a", "1").await), StoreErrorKind::Unsupported);
        }
        let logins = server.log().matches("connection authorized: user=app").count();
        assert!(logins <= 4 + start.elapsed().as_secs() as usize, "{logins} logins");
    }

    /// A setting of the role applies to each new connection.
    #[tokio::test]
    async fn another_isolation_at_run_time_fails_every_write_while_it_lasts() {
        let server = Postgres::start(&[]);
        let (store, pool, _schema) = store(&server).await;
        let principal = PrincipalKey::from_bytes(random());
        let who = NewSignIn::new(&principal, Assurance::Aal1);
        let session = TestSession::new(&store);
        let hour = Ttl::from_secs(3600);
        store.create(session.creation().idle(hour).sign_in(who)).await.unwrap();
        run(&pool, "alter role postgres set default_transaction_isolation = 'repeatable read'")
            .await;
        close_all(&pool).await;
        let target = RevokeTarget::All { except: None };
        assert_unsupported(store.revoke(&principal, target).await, "read committed");
        let other = TestSession::new(&store);
        for kind in [
            error_kind(store.create(other.creation()).await),
            error_kind(session.set("a", "1").await),
            error_kind(session.take("a").await),
            error_kind(session.load_and_touch().await),
            error_kind(session.delete().await),
        ] {
            assert_eq!(kind, StoreErrorKind::Unsupported);
        }
        assert!(session.load().await.unwrap().is_ok());
        // Open connections keep the setting that they began with.
        let mut connections = Vec::new();
        for _ in 0..pool.options().get_max_connections() {
            connections.push(pool.acquire().await.unwrap());
        }
        drop(connections);
        run(&pool, "alter role postgres reset default_transaction_isolation").await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        assert_eq!(store.revoke(&principal, target).await.unwrap().answer, [session.id]);
    }

    /// Requests of one session wait for each other without holding a connection.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_locked_session_leaves_connections_to_others() {
        let server = Postgres::start(&[]);
        let (store, pool, schema) = store(&server).await;
        let session = TestSession::begin(&store).await;
        let admin = server.pool(1);
        let mut holder = admin.begin().await.unwrap();
        let lock = format!("select 1 from {}.sessions for update", schema.name());
        holder.execute(AssertSqlSafe(lock)).await.unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let [writer, taker, toucher] = [session.clone(), session.clone(), session.clone()];
            waiting.spawn(async move { writer.set("a", "1").await.map(drop) });
            waiting.spawn(async move { taker.take("a").await.map(drop) });
            waiting.spawn(async move { toucher.load_and_touch().await.map(drop) });
        }
        wait_for_lock_queue(&pool).await;
        let stranger = TestSession::begin(&store).await;
        for _ in 0..20 {
            assert_eq!(stranger.set("a", "1").await.unwrap(), APPLIED);
            assert!(stranger.load_and_touch().await.unwrap().is_ok());
        }
        assert_eq!(stranger.delete().await.unwrap(), DELETED);
        assert!(waiting.try_join_next().is_none(), "the requests should still wait for the lock");
        holder.rollback().await.unwrap();
        waiting.join_all().await.into_iter().for_each(Result::unwrap);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_requests_of_one_session_hold_up_no_other() {
        let (store, ..) = store(Postgres::shared()).await;
        let (session, stranger) =
            (TestSession::begin(&store).await, TestSession::begin(&store).await);
        for kind in 0..3 {
            let answered = Arc::new(AtomicUsize::new(0));
            let mut requests = tokio::task::JoinSet::new();
            for _ in 0..1500 {
                let (session, answered) = (session.clone(), Arc::clone(&answered));
                requests.spawn(async move {
                    match kind {
                        0 => session.set("a", "1").await.map(drop),
                        1 => session.load().await.map(drop),
                        _ => session.load_and_touch().await.map(drop),
                    }
                    .unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                });
            }
            while answered.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
            let before = answered.load(Ordering::Relaxed);
            assert_eq!(stranger.set("a", "1").await.unwrap(), APPLIED);
            assert_eq!(stranger.get("a").await.unwrap().unwrap(), "1");
            let meanwhile = answered.load(Ordering::Relaxed) - before;
            assert!(
                meanwhile < 500,
                "fewer than 500 requests of kind {kind} should come first, but {meanwhile} did"
            );
            while requests.join_next().await.is_some() {}
        }
    }

    /// Two sessions swap their principals at the same time. Each one signs in on an instance of its
    /// own.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sign_ins_that_swap_places_do_not_deadlock() {
        let server = Postgres::start(&["deadlock_timeout=10ms"]);
        let (first, pool, schema) = store(&server).await;
        let second = Arc::new(builder(&server.pool(4), &schema).build().await.unwrap());
        let principals = [PrincipalKey::from_bytes(random()), PrincipalKey::from_bytes(random())];
        let sessions = [TestSession::begin(&first).await, TestSession::begin(&second).await];
        let sign_in = async |session: &TestSession<PostgresStore>, principal: &PrincipalKey| {
            let limit = SessionLimit::new(5, OnLimit::EndOldest);
            let who = NewSignIn::new(principal, Assurance::Aal1).limit(limit);
            let sign = AuthChange::In { who, idle: None, absolute: None };
            assert_eq!(session.update(Update::new(&[]).auth_change(sign)).await.unwrap(), APPLIED);
        };
        for round in 0..200 {
            tokio::join!(
                sign_in(&sessions[0], &principals[round % 2]),
                sign_in(&sessions[1], &principals[(round + 1) % 2]),
            );
        }
        let deadlocks = "select deadlocks from pg_stat_database where datname = 'postgres'";
        // The statistics of a connection are complete when it is closed.
        pool.close().await;
        assert_eq!(number(&server.pool(1), deadlocks).await, 0);
    }

    /// A read with a touch waits for a lock, and reads the clock afterwards.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_read_that_waits_does_not_revive_an_expired_session() {
        // On a server of its own no other statement waits.
        let server = Postgres::start(&[]);
        let (store, pool, schema) = store(&server).await;
        let session = TestSession::new(&store);
        // The reader has to arrive in this time.
        session.create(Some(Ttl::from_secs(5))).await.unwrap();
        let mut writer = pool.begin().await.unwrap();
        let lock = format!("select 1 from {}.sessions for update", schema.name());
        writer.execute(AssertSqlSafe(lock)).await.unwrap();
        let reader = session.clone();
        let reading = tokio::spawn(async move { reader.load_and_touch().await });
        wait_for_lock_queue(&pool).await;
        wait_until("the session expires", async || {
            session.load().await.unwrap() == Err(Refused::NotFound)
        })
        .await;
        writer.rollback().await.unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), Err(Refused::NotFound));
        assert_eq!(session.load().await.unwrap(), Err(Refused::NotFound));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_read_that_waits_for_the_end_of_its_session_learns_of_it() {
        let server = Postgres::start(&[]);
        let (store, pool, schema) = store(&server).await;
        for (change, expected) in [
            ("ended_at = clock_timestamp(), idle_at = null", "deleted"),
            (
                "former_secret = secret, secret = sha256('new'), issued_at = clock_timestamp()",
                "replaced",
            ),
        ] {
            let session = TestSession::begin(&store).await;
            let mut writer = pool.begin().await.unwrap();
            let change =
                format!("update {}.sessions set {change} where session_id = $1", schema.name());
            let id = session.id.as_bytes().to_vec();
            let change = sqlx::query(AssertSqlSafe(change)).bind(id);
            change.execute(&mut *writer).await.unwrap();
            let reader = session.clone();
            let reading = tokio::spawn(async move { reader.load_and_touch().await });
            wait_for_lock_queue(&pool).await;
            writer.commit().await.unwrap();
            let answer = match reading.await.unwrap().unwrap() {
                Err(Refused::Deleted { .. }) => "deleted",
                Err(Refused::Replaced { .. }) => "replaced",
                other => panic!("{other:?}"),
            };
            assert_eq!(answer, expected);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_limit_ends_no_session_that_signs_out_meanwhile() {
        let server = Postgres::start(&[]);
        let (store, pool, schema) = store(&server).await;
        let ada = PrincipalKey::from_bytes(random());
        let limit = SessionLimit::new(1, OnLimit::EndOldest);
        let who = NewSignIn::new(&ada, Assurance::Aal1).limit(limit);
        let first = TestSession::new(&store);
        store.create(first.creation().sign_in(who)).await.unwrap();
        assert_eq!(first.set("a", "1").await.unwrap(), APPLIED);
        // The first session signs out in a transaction that is not committed.
        let mut writer = pool.begin().await.unwrap();
        let sign_out =
            format!("update {}.sessions set principal = null, signed_in_at = null", schema.name());
        writer.execute(AssertSqlSafe(sign_out)).await.unwrap();
        let second = TestSession::new(&store);
        let commit = async {
            wait_for_lock_queue(&pool).await;
            writer.commit().await.unwrap();
        };
        let (created, ()) = tokio::join!(store.create(second.creation().sign_in(who)), commit);
        created.unwrap();
        assert_eq!(
            first.get("a").await.unwrap().unwrap(),
            "1",
            "the session should stay, because it no longer has a principal"
        );
    }

    /// Most touches write nothing, and lock nothing.
    #[tokio::test]
    async fn a_touch_that_is_not_due_waits_for_no_lock() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        let session = TestSession::begin(&store).await;
        let mut writer = pool.begin().await.unwrap();
        let lock = format!("select 1 from {}.sessions for update", schema.name());
        writer.execute(AssertSqlSafe(lock)).await.unwrap();
        let idle = Ttl::from_secs(3600);
        let touch = Touch::new(idle, idle.as_duration() / 2);
        assert!(session.load_fields(Projection::All, Some(touch)).await.unwrap().is_ok());
    }

    /// An abandoned statement occupies its connection until the server answers or the connection is
    /// closed.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stuck_server_has_no_more_statements_than_the_pool_has_connections() {
        let server = Postgres::shared();
        let (patient, _, schema) = store(server).await;
        let session = TestSession::begin(&patient).await;
        let pool = server.pool(2);
        drop(pool.acquire().await.unwrap());
        let impatient = builder(&pool, &schema).timeout(SHORT).build().await.unwrap();
        let impatient = session.through(&Arc::new(impatient));
        let admin = server.pool(2);
        let mut stuck = admin.begin().await.unwrap();
        let lock = format!("select 1 from {}.sessions for update", schema.name());
        stuck.execute(AssertSqlSafe(lock)).await.unwrap();
        for round in 0..8 {
            let writing = tokio::spawn({
                let session = impatient.clone();
                async move { session.set("a", "1").await }
            });
            if round % 2 == 0 {
                tokio::time::sleep(SHORT / 10).await;
                writing.abort();
            }
        }
        let waiting = format!(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' \
             and query like '%{}%'",
            schema.name()
        );
        for _ in 0..5 {
            assert!(number(&admin, &*waiting).await <= 2);
            tokio::time::sleep(SHORT / 10).await;
        }
        stuck.rollback().await.unwrap();
        wait_for_value(&session, "1").await;
    }

    #[tokio::test]
    async fn without_a_free_connection_nothing_is_carried_out() {
        let server = Postgres::shared();
        let (patient, _, schema) = store(server).await;
        let session = TestSession::begin(&patient).await;
        let pool = server.pool(1);
        drop(pool.acquire().await.unwrap());
        let impatient = builder(&pool, &schema).timeout(SHORT).build().await.unwrap();
        let impatient = session.through(&Arc::new(impatient));
        let connection = pool.acquire().await.unwrap();
        assert_eq!(error_kind(impatient.set("a", "1").await), StoreErrorKind::Unavailable);
        drop(connection);
        assert_eq!(session.get("a").await.unwrap(), None);
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_abandoned_operation_costs_no_connection() {
        let server = Postgres::shared();
        let (store, _pool, _schema) = store(server).await;
        let session = TestSession::begin(&store).await;
        for round in 0..200 {
            let session = session.clone();
            let operation = tokio::spawn(async move { session.set("a", "1").await });
            for _ in 0..round % 20 {
                tokio::task::yield_now().await;
            }
            operation.abort();
            let _ = operation.await;
        }
        let operations = (0..16).map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.set("a", "2").await })
        });
        for operation in operations.collect::<Vec<_>>() {
            assert_eq!(operation.await.unwrap().unwrap(), APPLIED);
        }
    }

    #[tokio::test]
    async fn a_read_only_database_answers_reads() {
        let server = Postgres::start(&[]);
        // With one connection, each statement sees the setting.
        let (pool, schema) = (server.pool(1), server.schema());
        let store = Arc::new(builder(&pool, &schema).build().await.unwrap());
        let session = TestSession::begin(&store).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        run(&pool, "alter system set default_transaction_read_only = on").await;
        run(&pool, "select pg_reload_conf()").await;
        while session.set("a", "1").await.is_ok() {}
        assert_eq!(error_kind(session.set("a", "2").await), StoreErrorKind::Unavailable);
        assert_eq!(error_kind(session.delete().await), StoreErrorKind::Unavailable);
        assert_eq!(session.get("a").await.unwrap().unwrap(), "1");
        assert_unsupported(store.check().await, "default_transaction_read_only");
    }

    /// Operations on a server that accepts no writes open few connections, and leave those of the
    /// application open.
    #[tokio::test]
    async fn a_read_only_server_gets_no_storm_of_connections() {
        const CONNECTIONS: u64 = 4;
        let server = Postgres::start(&[]);
        let (pool, admin) = (server.pool(CONNECTIONS as u32), server.pool(1));
        let schema = server.schema();
        let store = Arc::new(builder(&pool, &schema).build().await.unwrap());
        let session = TestSession::begin(&store).await;
        run(&admin, "alter system set default_transaction_read_only = on").await;
        run(&admin, "select pg_reload_conf()").await;
        while session.set("a", "1").await.is_ok() {}
        let opened = async || {
            // A process reports its figures at most once a second, and when it ends.
            let sql = "select sum(sessions)::bigint from pg_stat_database";
            u64::try_from(number(&admin, sql).await).unwrap()
        };
        let (before, begun) = (opened().await, std::time::Instant::now());
        for _ in 0..10 {
            let creations: Vec<_> = (0..30)
                .map(|_| {
                    let session = TestSession::new(&store);
                    tokio::spawn(async move { session.create(None).await })
                })
                .collect();
            for creation in creations {
                assert_eq!(error_kind(creation.await.unwrap()), StoreErrorKind::Unavailable);
            }
        }
        // Without a limit, each creation replaces up to four connections. With it, four every 100
        // ms at most.
        let allowed = CONNECTIONS * (2 + begun.elapsed().as_millis() as u64 / 100);
        let number = opened().await - before;
        assert!(
            number <= allowed,
            "300 creations opened {number} connections, more than {allowed}"
        );
    }

    /// A trigger reports a full disk.
    #[tokio::test]
    async fn a_full_disk_has_an_error_of_its_own() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        let session = TestSession::begin(&store).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        let name = schema.name();
        run(
            &pool,
            format!(
                "create function {name}.fill_up() returns trigger language plpgsql as $$ begin
                   raise exception 'could not extend file' using errcode = 'disk_full',
                     detail = 'Failing row contains (' || encode(new.value, 'escape') || ')';
                 end $$;
                 create trigger fill_up after insert on {name}.sessions_fields
                 for each row when (new.name = 'z') execute function {name}.fill_up()"
            ),
        )
        .await;
        let value = Bytes::from_static(b"top secret");
        let set = |name| Change::Set(FieldWrite::new(name, &value));
        let error = session.change(&[Change::Remove("a"), set("b"), set("z")]).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Full);
        assert!(!format!("{} {error:?}", error_chain(&error)).contains("secret"), "{error:?}");
        let loaded = session.load().await.unwrap().unwrap();
        assert_eq!(loaded.fields.len(), 1, "no part of a failed write should be carried out");
        assert_eq!(session.take("a").await.unwrap(), taken(Some("1".into())));
    }

    /// A deferred constraint can fail a write as late as its commit.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_write_is_committed_when_it_returns() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        let session = TestSession::begin(&store).await;
        let name = schema.name();
        run(
            &pool,
            format!(
                "create function {name}.late() returns trigger language plpgsql as $$ begin
                   perform pg_sleep(0.1);
                   if new.name = 'z' then raise exception 'no'; end if;
                   return null;
                 end $$;
                 create constraint trigger late after insert or update on {name}.sessions_fields
                 deferrable initially deferred for each row execute function {name}.late()"
            ),
        )
        .await;
        for round in 0..5 {
            assert_eq!(session.set("a", &round.to_string()).await.unwrap(), APPLIED);
            assert_eq!(session.get("a").await.unwrap().unwrap(), round.to_string());
        }
        assert_eq!(error_kind(session.set("z", "1").await), StoreErrorKind::Unavailable);
        assert_eq!(session.get("z").await.unwrap(), None);
    }

    #[tokio::test]
    async fn any_grace_period_can_be_set() {
        let (store, _pool, _schema) = store(Postgres::shared()).await;
        for grace in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            let session = TestSession::begin(&store).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
            let next = SecretHash::from_bytes(random());
            let renew = Renew::new(&next, Ttl::from_millis(1), grace);
            let renewed = session.update(Update::new(&[]).renew(renew)).await;
            assert_eq!(renewed.unwrap(), APPLIED, "{grace:?}");
            // The first use of the new secret begins the grace period.
            let loaded = session.with_secret(next).load_and_touch().await;
            assert!(loaded.unwrap().is_ok(), "{grace:?}");
        }
    }

    #[tokio::test]
    async fn a_value_of_5_megabytes_is_kept() {
        let (store, ..) = store(Postgres::shared()).await;
        let session = TestSession::begin(&store).await;
        let value = Bytes::from_iter((0..5 << 20).map(|index: u32| (index % 251) as u8));
        let changes = [Change::Set(FieldWrite::new("a", &value))];
        assert_eq!(session.change(&changes).await.unwrap(), APPLIED);
        assert!(session.get("a").await.unwrap().unwrap() == value);
        assert!(session.take("a").await.unwrap() == taken(Some(value)));
    }

    #[tokio::test]
    async fn a_malformed_row_is_an_error() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        let session = TestSession::begin(&store).await;
        assert_eq!(session.set("a", "1").await.unwrap(), APPLIED);
        assert_eq!(session.set("b", "2").await.unwrap(), APPLIED);
        let name = schema.name();
        let sql = format!("update {name}.sessions_fields set cache_policy = -7 where name = 'a'");
        run(&pool, sql).await;
        assert_replaceable(&session).await;

        // A time in the future counts as now.
        let tomorrow = "now() + interval '1 day'";
        run(
            &pool,
            format!("update {name}.sessions set created_at = {tomorrow}, issued_at = {tomorrow}"),
        )
        .await;
        let loaded = session.load().await.unwrap().unwrap();
        assert_eq!(loaded.meta.age, Duration::ZERO);
        run(&pool, format!("alter table {name}.sessions_fields alter value drop not null")).await;
        run(&pool, format!("update {name}.sessions_fields set value = null")).await;
        assert_eq!(error_kind(session.load().await), StoreErrorKind::Corrupt);
    }
}

mod cleanup {
    use super::*;

    const HOUR: Option<Ttl> = Some(Ttl::from_secs(3600));

    /// Moves every idle deadline of a schema two hours into the past.
    async fn expire_all(pool: &PgPool, schema: &str) {
        run(
            pool,
            format!(
                "update {schema}.sessions set idle_at = now() - interval '2 hours'
                 where idle_at is not null"
            ),
        )
        .await;
    }

    /// Returns the number of sessions and of fields.
    async fn rows(pool: &PgPool, schema: &str) -> (i64, i64) {
        let count =
            async |table| number(pool, format!("select count(*) from {schema}.{table}")).await;
        (count("sessions").await, count("sessions_fields").await)
    }

    async fn create_sessions(store: &Arc<PostgresStore>, count: usize, idle: Option<Ttl>) {
        let value = Bytes::from_static(b"1");
        let fields = [FieldWrite::new("a", &value)];
        for _ in 0..count {
            let session = TestSession::new(store);
            store.create(session.creation().idle(idle).fields(&fields)).await.unwrap();
        }
    }

    async fn wait_until_empty(pool: &PgPool, schema: &str) {
        wait_until("all sessions are deleted", async || rows(pool, schema).await == (0, 0)).await;
    }

    #[tokio::test]
    async fn delete_expired_deletes_at_most_its_limit() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        create_sessions(&store, 7, HOUR).await;
        expire_all(&pool, schema.name()).await;
        create_sessions(&store, 2, HOUR).await;
        create_sessions(&store, 3, None).await;
        assert_eq!(rows(&pool, schema.name()).await, (12, 12));
        assert_eq!(store.delete_expired(5).await.unwrap(), 5);
        assert_eq!(rows(&pool, schema.name()).await, (7, 7));
        assert_eq!(store.delete_expired(5).await.unwrap(), 2);
        assert_eq!(store.delete_expired(5).await.unwrap(), 0);
        assert_eq!(rows(&pool, schema.name()).await, (5, 5));
    }

    /// Only a new epoch ends sessions without a deadline.
    #[tokio::test]
    async fn the_cleanup_frees_sessions_without_a_deadline_that_were_revoked() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        create_sessions(&store, 7, None).await;
        let session = TestSession::begin(&store).await;
        session.set("a", "1").await.unwrap().unwrap();
        let endless = TestSession::new(&store);
        endless.create(None).await.unwrap();
        store.revoke_everyone().await.unwrap();
        create_sessions(&store, 2, None).await;
        assert_eq!(store.delete_expired(5).await.unwrap(), 5);
        assert_eq!(store.delete_expired(5).await.unwrap(), 3);
        assert_eq!(store.delete_expired(5).await.unwrap(), 0);
        let live = format!(
            "select count(*) from {}.sessions where ended_at is null and cleanup_hour is null",
            schema.name()
        );
        assert_eq!(number(&pool, live).await, 2);
        for session in [&endless, &session] {
            assert_eq!(session.load().await.unwrap(), Err(Refused::Revoked));
        }
    }

    #[tokio::test]
    async fn delete_expired_skips_locked_rows() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        create_sessions(&store, 3, HOUR).await;
        expire_all(&pool, schema.name()).await;
        let mut other = pool.begin().await.unwrap();
        let lock = format!("select 1 from {}.sessions limit 1 for update", schema.name());
        other.execute(AssertSqlSafe(lock)).await.unwrap();
        assert_eq!(store.delete_expired(10).await.unwrap(), 2);
        other.rollback().await.unwrap();
        assert_eq!(store.delete_expired(10).await.unwrap(), 1);
    }

    /// The cleanup works in batches and continues after an error.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_cleanup_runs_until_the_last_clone_is_dropped() {
        let server = Postgres::shared();
        let (pool, schema) = (server.pool(4), server.schema());
        let name = schema.name();
        let builder = builder(&pool, &schema).cleanup_interval(Duration::ZERO);
        let store = Arc::new(builder.build().await.unwrap());
        create_sessions(&store, 600, HOUR).await;
        expire_all(&pool, name).await;
        wait_until_empty(&pool, name).await;

        run(&pool, format!("alter table {name}.sessions rename to away")).await;
        while store.delete_expired(1).await.is_ok() {}
        tokio::time::sleep(Duration::from_millis(1500)).await;
        run(&pool, format!("alter table {name}.away rename to sessions")).await;
        create_sessions(&store, 3, HOUR).await;
        expire_all(&pool, name).await;
        wait_until_empty(&pool, name).await;

        let clone = (*store).clone();
        drop(store);
        create_sessions(&Arc::new(clone.clone()), 3, HOUR).await;
        expire_all(&pool, name).await;
        wait_until_empty(&pool, name).await;
        create_sessions(&Arc::new(clone), 3, HOUR).await;
        expire_all(&pool, name).await;
        let left = rows(&pool, name).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(rows(&pool, name).await, left, "the cleanup should have stopped");
    }
}
