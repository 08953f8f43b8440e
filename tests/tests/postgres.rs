//! What is particular to PostgreSQL: its tables and who makes them, faults of the server and the
//! network, the removal of what expired.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ruts::{
    Assurance, CachePolicy, PrincipalKey, SecretHash, Ttl,
    store::{
        Change, Create, FieldWrite, Lookup, NewSignIn, OnLimit, PageRequest, Projection,
        RevokeTarget, SessionLimit, Store, StoreErrorKind, Touch, Updated,
        postgres::{PostgresStore, PostgresStoreBuilder},
    },
};
use ruts_tests::{
    Proxy, Traffic, Visitor,
    backends::idle,
    kind, random,
    servers::{Postgres, Schema},
    told,
};
use sqlx::{AssertSqlSafe, Executor, PgPool, Row, postgres::PgPoolOptions};

const APPLIED: Lookup<Updated> = Lookup::Found(Updated::Applied { found: 0 });
/// For tests in which the answer does not come.
const SHORT: Duration = Duration::from_millis(300);

fn builder(pool: &PgPool, schema: &Schema) -> PostgresStoreBuilder {
    PostgresStoreBuilder::new(pool.clone(), true).schema_name(schema.name()).cleanup_interval(None)
}

/// A store in a schema of its own, and the pool and schema.
async fn store(server: &Postgres) -> (Arc<PostgresStore>, PgPool, Schema) {
    let (pool, schema) = (server.pool(4), server.schema());
    (Arc::new(builder(&pool, &schema).build().await.unwrap()), pool, schema)
}

/// A store behind a proxy.
async fn behind(
    proxy: &Proxy,
    server: &Postgres,
    schema: &Schema,
    timeout: Duration,
) -> (Arc<PostgresStore>, PgPool) {
    let url = server.url().replace(&server.address(), proxy.address());
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy(&url).unwrap();
    (Arc::new(builder(&pool, schema).timeout(timeout).build().await.unwrap()), pool)
}

async fn run(pool: &PgPool, sql: impl Into<String>) {
    pool.execute(sqlx::raw_sql(AssertSqlSafe(sql.into()))).await.unwrap();
}

async fn number(pool: &PgPool, sql: impl Into<String>) -> i64 {
    sqlx::query(AssertSqlSafe(sql.into())).fetch_one(pool).await.unwrap().get(0)
}

/// Waits, without writing, until the store answers that it holds a value.
async fn settled<S: Store>(visitor: &Visitor<S>, value: &str) {
    let begun = Instant::now();
    loop {
        let held = visitor.get("a").await;
        if held.as_ref().is_ok_and(|held| held.as_deref() == Some(value.as_bytes())) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{held:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

mod tables {
    use super::*;

    #[tokio::test]
    async fn ten_instances_make_them_at_once() {
        let server = Postgres::shared();
        let (pool, schema) = (server.pool(10), server.schema());
        let builds = (0..10).map(|_| tokio::spawn(builder(&pool, &schema).build()));
        let mut stores = Vec::new();
        for build in builds.collect::<Vec<_>>() {
            stores.push(Arc::new(build.await.unwrap().unwrap()));
        }
        let visitor = Visitor::begin(&stores[0]).await;
        for store in &stores {
            assert_eq!(
                Visitor { store: Arc::clone(store), ..visitor.clone() }
                    .set("a", "1")
                    .await
                    .unwrap(),
                APPLIED
            );
        }
        let versions = format!("select count(*) from {}.sessions_migrations", schema.name());
        assert_eq!(number(&pool, versions).await, 1);
    }

    /// The application's role may read and write, but not change tables.
    #[tokio::test]
    async fn somebody_else_can_make_them() {
        let server = Postgres::start(&[]);
        let (owner, schema) = (server.pool(1), server.schema());
        let name = schema.name();
        run(&owner, "create role app login").await;
        let url = server.url().replace("postgres@", "app@");
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy(&url).unwrap();
        for create_table in [true, false] {
            let builder = PostgresStoreBuilder::new(pool.clone(), create_table).schema_name(name);
            let error = builder.build().await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{}", told(&error));
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
        for create_table in [true, false] {
            let builder = PostgresStoreBuilder::new(pool.clone(), create_table).schema_name(name);
            let visitor = Visitor::begin(&Arc::new(builder.build().await.unwrap())).await;
            assert_eq!(visitor.set("a", "1").await.unwrap(), APPLIED);
            assert_eq!(visitor.take("a").await.unwrap(), Lookup::Found(Some("1".into())));
            assert_eq!(visitor.delete().await.unwrap(), Lookup::Found(()));
            assert_eq!(visitor.store.delete_expired(10).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn two_stores_share_a_database() {
        let server = Postgres::shared();
        let (pool, schema) = (server.pool(4), server.schema());
        let named = |table| builder(&pool, &schema).table_name(table).build();
        let (one, other) = (named("app").await.unwrap(), named("app_2").await.unwrap());
        let error = named("app_fields").await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unsupported, "it is a companion of `app`");
        let one = Visitor::begin(&Arc::new(one)).await;
        let other = Visitor { store: Arc::new(other), ..one.clone() };
        assert_eq!(other.load().await.unwrap(), Lookup::NotFound);
        other.create(None).await.unwrap();
        one.set("a", "1").await.unwrap();
        assert_eq!(other.get("a").await.unwrap(), None);
        other.delete().await.unwrap();
        assert_eq!(one.get("a").await.unwrap().unwrap(), "1");
    }

    #[tokio::test]
    async fn names_are_checked() {
        let pool = Postgres::shared().pool(1);
        for name in ["", "a b", "a\"", "a;drop table b", "Upper", "\u{fc}", "1a", &"a".repeat(51)] {
            let table = PostgresStoreBuilder::new(pool.clone(), true).table_name(name);
            assert!(table.sql().is_err(), "{name}");
            assert_eq!(kind(table.build().await), StoreErrorKind::Unsupported, "{name}");
            let schema = PostgresStoreBuilder::new(pool.clone(), true).schema_name(name);
            assert_eq!(kind(schema.build().await), StoreErrorKind::Unsupported, "{name}");
        }
    }

    /// Also names that the functions use for variables.
    #[tokio::test]
    async fn any_valid_name_works() {
        let server = Postgres::shared();
        let (pool, schema) = (server.pool(2), server.schema());
        for table in ["s", "f", "t", "moment", "p_handle", "value", "name", "touched", "select"] {
            let store = builder(&pool, &schema).table_name(table).build().await.unwrap();
            let visitor = Visitor::begin(&Arc::new(store)).await;
            assert_eq!(visitor.set("a", "1").await.unwrap(), APPLIED, "{table}");
            let next = SecretHash::from_bytes(random());
            assert_eq!(visitor.rotate(&next).await.unwrap(), APPLIED, "{table}");
            let visitor = Visitor { secret: next, ..visitor };
            assert!(matches!(visitor.slide().await.unwrap(), Lookup::Found(_)), "{table}");
            assert_eq!(visitor.take("a").await.unwrap(), Lookup::Found(Some("1".into())));
            assert_eq!(visitor.delete().await.unwrap(), Lookup::Found(()), "{table}");
            assert!(matches!(visitor.slide().await.unwrap(), Lookup::Ended { .. }), "{table}");
            visitor.store.delete_expired(1).await.unwrap();
        }
    }

    /// Others who may create things in a schema on the role's path cannot have them called.
    #[tokio::test]
    async fn nothing_of_others_is_called() {
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
        let visitor =
            Visitor::begin(&Arc::new(builder(&pool, &schema).build().await.unwrap())).await;
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(visitor.set_for("a", "1", hour).await.unwrap(), APPLIED);
        let Lookup::Found(loaded) = visitor.slide().await.unwrap() else { panic!("it is there") };
        assert!(loaded.fields[0].ttl.unwrap() <= Duration::from_secs(3600));
        visitor.load().await.unwrap();
        visitor.take("a").await.unwrap();
        visitor.delete().await.unwrap();
        visitor.store.delete_expired(1).await.unwrap();
    }

    #[tokio::test]
    async fn two_stores_are_made_in_a_new_schema_at_once() {
        let server = Postgres::shared();
        for _ in 0..5 {
            let (pool, schema) = (server.pool(2), server.schema());
            let named = |table| tokio::spawn(builder(&pool, &schema).table_name(table).build());
            let (one, other) = tokio::join!(named("one"), named("other"));
            one.unwrap().unwrap();
            other.unwrap().unwrap();
        }
    }

    /// Somebody else's table is in the way: nothing is left of what was made before that.
    #[tokio::test]
    async fn the_sql_is_run_whole_or_not_at_all() {
        let server = Postgres::shared();
        let (pool, schema) = (server.pool(1), server.schema());
        let name = schema.name();
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
        assert_eq!(kind(builder(&pool, &schema).build().await), StoreErrorKind::Unsupported);
    }

    #[tokio::test]
    async fn another_version_of_them_is_refused() {
        let (_, pool, schema) = store(Postgres::shared()).await;
        run(&pool, format!("insert into {}.sessions_migrations values (99)", schema.name())).await;
        let error = builder(&pool, &schema).build().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unsupported);
        assert!(told(&error).contains("version 99"), "{}", told(&error));
    }

    #[tokio::test]
    async fn a_database_that_isolates_otherwise_is_refused() {
        let server = Postgres::start(&["default_transaction_isolation=repeatable read"]);
        let error = builder(&server.pool(1), &server.schema()).build().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unsupported);
        assert!(told(&error).contains("read committed"), "{}", told(&error));
    }

    #[tokio::test]
    async fn tables_that_went_away_are_an_error() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        let visitor = Visitor::begin(&store).await;
        run(&pool, format!("drop schema {} cascade", schema.name())).await;
        assert_eq!(kind(visitor.load().await), StoreErrorKind::Unsupported);
        assert_eq!(kind(visitor.set("a", "1").await), StoreErrorKind::Unsupported);
    }

    /// A read is a probe of one index for the session and of one for its fields, however many
    /// sessions there are. The plans are those of the store's own statements.
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
                   (id, secret, created_at, rotated_at, used_at, idle_at, epoch, principal,
                   assurance, signed_at)
                 select decode(md5(i::text), 'hex'), '', now(), now(), now(),
                   now() + i * interval '1 s', 0, decode(lpad(to_hex(i % 5000), 64, '0'), 'hex'), 1, now()
                 from generate_series(1, 20000) i;
                 insert into {name}.sessions_fields (session, name, value, hot)
                 select id, f, '', 0 from {name}.sessions, unnest(array['a', 'b']) f;
                 analyze {name}.sessions; analyze {name}.sessions_fields"
            ),
        )
        .await;
        let visitor = Visitor::begin(&store).await;
        let mut others = Vec::new();
        for _ in 0..12 {
            others.push(Visitor::begin(&store).await);
        }
        // The sixth time, the server may have settled on one plan for all parameters.
        for round in 0..7 {
            let begin = server.log().len();
            visitor.get("a").await.unwrap();
            let read = server.log()[begin..].to_owned();
            assert_eq!(read.matches("Index Scan using sessions_handle_key").count(), 1, "{read}");
            assert_eq!(read.matches("Index Scan using sessions_fields_pkey").count(), 1, "{read}");

            visitor.set("a", &round.to_string()).await.unwrap();
            visitor.slide().await.unwrap();
            visitor.take("a").await.unwrap();
            let all = server.log()[begin..].to_owned();
            // The table of the epoch has one row.
            let scanned = all.replace("Seq Scan on sessions_epoch", "");
            assert!(!scanned.contains("Seq Scan"), "{all}");

            let begin = server.log().len();
            let mut many = tokio::task::JoinSet::new();
            for visitor in &others {
                let (reader, writer) = (visitor.clone(), visitor.clone());
                many.spawn(async move { reader.get("a").await.map(drop) });
                many.spawn(async move { writer.set("a", "1").await.map(drop) });
            }
            many.join_all().await.into_iter().for_each(Result::unwrap);
            let together = server.log()[begin..].replace("Seq Scan on sessions_epoch", "");
            assert!(together.contains("Function Scan on q"), "{together}");
            assert!(!together.contains("Seq Scan"), "{together}");

            let begin = server.log().len();
            let mut seven = [0; 32];
            seven[31] = 7;
            let principal = PrincipalKey::from_bytes(seven);
            let page = PageRequest { after: None, limit: 10 };
            let listing = store.list_by_principal(&principal, page, Projection::All).await.unwrap();
            assert_eq!(listing.sessions.len(), 4 - usize::from(round > 0));
            let first = listing.sessions[0].id;
            if round == 0 {
                store.revoke(&principal, RevokeTarget::One(&first)).await.unwrap();
            }
            let listed = server.log()[begin..].replace("Seq Scan on sessions_epoch", "");
            assert!(listed.contains("sessions_principal"), "{listed}");
            assert!(!listed.contains("Seq Scan"), "{listed}");

            let begin = server.log().len();
            store.delete_expired(10).await.unwrap();
            let delete_expired = server.log()[begin..].to_owned();
            assert!(delete_expired.contains("sessions_gc"), "{delete_expired}");
            assert!(!delete_expired.contains("Seq Scan on sessions "), "{delete_expired}");
        }
    }

    /// Sliding and writing change no index.
    #[tokio::test]
    async fn updates_stay_on_their_page() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        let visitor = Visitor::begin(&store).await;
        visitor.set("a", "0").await.unwrap();
        for round in 1..=50 {
            visitor.set("a", &round.to_string()).await.unwrap();
            visitor.slide().await.unwrap();
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
            // Statistics come a moment later.
            while count("tuples_updated", table).await < 50 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let updated = count("tuples_updated", table).await;
            let hot = count("tuples_hot_updated", table).await;
            assert!(updated >= 50 && hot * 10 >= updated * 9, "{table}: {hot} of {updated}");
        }
    }
}

mod faults {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_dead_server_is_an_error_at_once_and_works_again_when_it_is_back() {
        let server = Postgres::start(&["fsync=on", "synchronous_commit=on"]);
        let (store, ..) = store(&server).await;
        let visitor = Visitor::begin(&store).await;
        visitor.set("a", "1").await.unwrap();
        server.kill();
        for _ in 0..3 {
            let asked = Instant::now();
            let kind = kind(visitor.set("b", "2").await);
            assert!(
                matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Unknown),
                "{kind:?}"
            );
            assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
        }
        server.restart();
        settled(&visitor, "1").await;
        assert_eq!(visitor.get("b").await.unwrap(), None, "a write that failed was done");
    }

    #[tokio::test]
    async fn a_write_without_an_answer_is_unknown_and_done_once() {
        let server = Postgres::shared();
        let proxy = Proxy::before(&server.address()).await;
        let schema = server.schema();
        for traffic in [Traffic::CutsAnswersAfter(0), Traffic::CutsAnswersAfter(20)] {
            let (store, pool) = behind(&proxy, server, &schema, SHORT).await;
            let visitor = Visitor::begin(&store).await;
            visitor.set("a", "1").await.unwrap();
            idle(&pool).await;
            proxy.set(traffic);
            assert_eq!(kind(visitor.set("a", "2").await), StoreErrorKind::Unknown, "{traffic:?}");
            proxy.set(Traffic::Flows);
            settled(&visitor, "2").await;
        }
        let (store, pool) = behind(&proxy, server, &schema, SHORT).await;
        let visitor = Visitor::begin(&store).await;
        visitor.set("a", "1").await.unwrap();
        idle(&pool).await;
        proxy.set(Traffic::Waits);
        let asked = Instant::now();
        assert_eq!(kind(visitor.set("a", "2").await), StoreErrorKind::Unknown);
        assert!(asked.elapsed() < 5 * SHORT, "{:?}", asked.elapsed());
        // The network may still deliver it, at any time.
        proxy.set(Traffic::Flows);
        settled(&visitor, "2").await;
    }

    #[tokio::test]
    async fn a_read_on_a_dead_connection_is_made_again() {
        let server = Postgres::start(&[]);
        let (store, _pool, _schema) = store(&server).await;
        let visitor = Visitor::begin(&store).await;
        visitor.set("a", "1").await.unwrap();
        let other = server.pool(1);
        for _ in 0..3 {
            let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                       where pid <> pg_backend_pid() and backend_type = 'client backend'";
            assert!(number(&other, end).await > 0);
            assert_eq!(visitor.get("a").await.unwrap().unwrap(), "1");
        }
    }

    /// The server says that it closed the connection when the next statement comes.
    #[tokio::test]
    async fn connections_that_the_server_closed_when_idle_cost_nothing() {
        let server = Postgres::start(&["idle_session_timeout=300ms"]);
        let (store, _pool, _schema) = store(&server).await;
        let visitor = Visitor::begin(&store).await;
        for _ in 0..3 {
            let _ = tokio::join!(visitor.load(), visitor.load(), visitor.load());
            tokio::time::sleep(Duration::from_millis(500)).await;
            for _ in 0..3 {
                assert!(matches!(visitor.load().await.unwrap(), Lookup::Found(_)));
            }
        }
    }

    /// A sliding read that has to wait looks at the clock afterwards.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_read_that_waits_revives_nothing() {
        // Nobody else waits on a server of its own.
        let server = Postgres::start(&[]);
        let (pool, schema) = (server.pool(4), server.schema());
        let patient = builder(&pool, &schema).timeout(Duration::from_secs(20));
        let visitor = Visitor::new(&Arc::new(patient.build().await.unwrap()));
        // Long enough for the reader to come on a busy machine.
        visitor.create(Some(Ttl::from_secs(2))).await.unwrap();
        let mut writer = pool.begin().await.unwrap();
        let lock = format!("select 1 from {}.sessions for update", schema.name());
        writer.execute(AssertSqlSafe(lock)).await.unwrap();
        let reader = visitor.clone();
        let reading = tokio::spawn(async move { reader.slide().await });
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
        while number(&pool, waiting).await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        while visitor.load().await.unwrap() != Lookup::NotFound {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        writer.rollback().await.unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), Lookup::NotFound);
        assert_eq!(visitor.load().await.unwrap(), Lookup::NotFound);
    }

    /// So does one that waits for the end of its session, and is told how long ago that was.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_read_that_waits_for_an_end_is_told_of_it() {
        let server = Postgres::start(&[]);
        let (pool, schema) = (server.pool(4), server.schema());
        let patient = builder(&pool, &schema).timeout(Duration::from_secs(20));
        let store = Arc::new(patient.build().await.unwrap());
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
        for (change, is_told) in [
            ("_delete(id, secret)", "ended"),
            ("_take(id, secret, null, null, sha256('new'), 'a', false)", "replaced"),
        ] {
            let visitor = Visitor::begin(&store).await;
            let mut writer = pool.begin().await.unwrap();
            let change = format!(
                "select s.id, c.said from {0}.sessions s, {0}.sessions{change} c where s.id = $1",
                schema.name()
            );
            let change = sqlx::query(AssertSqlSafe(change)).bind(visitor.id.as_bytes().to_vec());
            change.execute(&mut *writer).await.unwrap();
            let reader = visitor.clone();
            let reading = tokio::spawn(async move { reader.slide().await });
            while number(&pool, waiting).await == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            writer.commit().await.unwrap();
            let answer = reading.await.unwrap().unwrap();
            let told = match answer {
                Lookup::Ended { .. } => "ended",
                Lookup::Replaced { .. } => "replaced",
                other => panic!("{other:?}"),
            };
            assert_eq!(told, is_told);
        }
    }

    /// Room is made of sessions that are the principal's when they are ended.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_session_is_ended_that_was_signed_out_meanwhile() {
        let server = Postgres::start(&[]);
        let (pool, schema) = (server.pool(4), server.schema());
        let patient = builder(&pool, &schema).timeout(Duration::from_secs(20));
        let store = Arc::new(patient.build().await.unwrap());
        let ada = PrincipalKey::from_bytes(random());
        let limit = Some(SessionLimit { sessions: 1, on_limit: OnLimit::EndOldest });
        let who = NewSignIn { principal: &ada, assurance: Assurance::Aal1, limit };
        let begin = async |visitor: &Visitor<PostgresStore>| {
            let Visitor { id, secret, .. } = visitor;
            let sign_in = Some(who);
            let create = Create { id, secret, idle: None, absolute: None, fields: &[], sign_in };
            store.create(create).await
        };
        let first = Visitor::new(&store);
        begin(&first).await.unwrap();
        first.set("a", "1").await.unwrap();
        // It signs out, and has not said so to others yet.
        let mut writer = pool.begin().await.unwrap();
        let out =
            format!("update {}.sessions set principal = null, signed_at = null", schema.name());
        writer.execute(AssertSqlSafe(out)).await.unwrap();
        let second = Visitor::new(&store);
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
        let commit = async {
            while number(&pool, waiting).await == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            writer.commit().await.unwrap();
        };
        let (begun, ()) = tokio::join!(begin(&second), commit);
        begun.unwrap();
        assert_eq!(first.get("a").await.unwrap().unwrap(), "1", "it is nobody's by now");
    }

    /// Most reads of a session that slides write nothing, and lock nothing.
    #[tokio::test]
    async fn a_read_that_is_no_activity_yet_waits_for_nobody() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        let visitor = Visitor::begin(&store).await;
        let mut writer = pool.begin().await.unwrap();
        let lock = format!("select 1 from {}.sessions for update", schema.name());
        writer.execute(AssertSqlSafe(lock)).await.unwrap();
        let idle = Ttl::from_secs(3600);
        let touch = Touch { idle, after: idle.as_duration() / 2 };
        let answer = store.load(visitor.credentials(), Projection::All, Some(touch)).await.unwrap();
        assert!(matches!(answer, Lookup::Found(_)));
    }

    /// Statements that nobody waits for any more keep their places in the pool, for a while.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stuck_server_gets_no_more_statements_than_the_pool_has_places() {
        let server = Postgres::shared();
        let (pool, schema) = (server.pool(2), server.schema());
        let store = Arc::new(builder(&pool, &schema).timeout(SHORT).build().await.unwrap());
        let visitor = Visitor::begin(&store).await;
        let admin = server.pool(2);
        let mut stuck = admin.begin().await.unwrap();
        let lock = format!("select 1 from {}.sessions for update", schema.name());
        stuck.execute(AssertSqlSafe(lock)).await.unwrap();
        for round in 0..8 {
            let writing = tokio::spawn({
                let visitor = visitor.clone();
                async move { visitor.set("a", "1").await }
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
        settled(&visitor, "1").await;
    }

    #[tokio::test]
    async fn a_full_pool_is_an_error_in_time_and_nothing_is_done() {
        let server = Postgres::shared();
        let (pool, schema) = (server.pool(1), server.schema());
        let store = Arc::new(builder(&pool, &schema).timeout(SHORT).build().await.unwrap());
        let visitor = Visitor::begin(&store).await;
        let taken = pool.acquire().await.unwrap();
        let asked = Instant::now();
        assert_eq!(kind(visitor.set("a", "1").await), StoreErrorKind::Unavailable);
        assert!(asked.elapsed() < 5 * SHORT, "{:?}", asked.elapsed());
        drop(taken);
        assert_eq!(visitor.get("a").await.unwrap(), None);
        assert_eq!(visitor.set("a", "1").await.unwrap(), APPLIED);
    }

    /// However often a caller gives up, the pool has all of its connections.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_caller_who_gives_up_costs_no_connection() {
        let server = Postgres::shared();
        let (store, _pool, _schema) = store(server).await;
        let visitor = Visitor::begin(&store).await;
        for round in 0..200 {
            let visitor = visitor.clone();
            let operation = tokio::spawn(async move { visitor.set("a", "1").await });
            for _ in 0..round % 20 {
                tokio::task::yield_now().await;
            }
            operation.abort();
            let _ = operation.await;
        }
        let operations = (0..16).map(|_| {
            let visitor = visitor.clone();
            tokio::spawn(async move { visitor.set("a", "2").await })
        });
        for operation in operations.collect::<Vec<_>>() {
            assert_eq!(operation.await.unwrap().unwrap(), APPLIED);
        }
    }

    #[tokio::test]
    async fn a_database_that_takes_no_writes_is_read() {
        let server = Postgres::start(&[]);
        // One connection, because each hears of the setting in its own time.
        let (pool, schema) = (server.pool(1), server.schema());
        let store = Arc::new(builder(&pool, &schema).build().await.unwrap());
        let visitor = Visitor::begin(&store).await;
        visitor.set("a", "1").await.unwrap();
        run(&pool, "alter system set default_transaction_read_only = on").await;
        run(&pool, "select pg_reload_conf()").await;
        while visitor.set("a", "1").await.is_ok() {}
        assert_eq!(kind(visitor.set("a", "2").await), StoreErrorKind::Unavailable);
        assert_eq!(kind(visitor.delete().await), StoreErrorKind::Unavailable);
        assert_eq!(visitor.get("a").await.unwrap().unwrap(), "1");
    }

    /// As a full disk is reported.
    #[tokio::test]
    async fn a_full_disk_is_told_apart_and_nothing_is_done() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        let visitor = Visitor::begin(&store).await;
        visitor.set("a", "1").await.unwrap();
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
        let set = |name| {
            Change::Set(FieldWrite { name, value: &value, ttl: None, hot: CachePolicy::Auto })
        };
        let error = visitor.change(&[Change::Remove("a"), set("b"), set("z")]).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Full);
        assert!(!format!("{} {error:?}", told(&error)).contains("secret"), "{error:?}");
        let Lookup::Found(loaded) = visitor.load().await.unwrap() else { panic!("it is there") };
        assert_eq!(loaded.fields.len(), 1, "half of a write was done");
        assert_eq!(visitor.take("a").await.unwrap(), Lookup::Found(Some("1".into())));
    }

    /// The answer comes after the commit: until then the write can still fail.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_write_is_committed_when_it_returns() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        let visitor = Visitor::begin(&store).await;
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
            visitor.set("a", &round.to_string()).await.unwrap();
            assert_eq!(visitor.get("a").await.unwrap().unwrap(), round.to_string());
        }
        assert_eq!(kind(visitor.set("z", "1").await), StoreErrorKind::Unavailable);
        assert_eq!(visitor.get("z").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_huge_value_survives() {
        let (store, ..) = store(Postgres::shared()).await;
        let visitor = Visitor::begin(&store).await;
        let value = Bytes::from_iter((0..5 << 20).map(|index: u32| (index % 251) as u8));
        let put = FieldWrite { name: "a", value: &value, ttl: None, hot: CachePolicy::Auto };
        assert_eq!(visitor.change(&[Change::Set(put)]).await.unwrap(), APPLIED);
        assert!(visitor.get("a").await.unwrap().unwrap() == value);
        assert!(visitor.take("a").await.unwrap() == Lookup::Found(Some(value)));
    }

    #[tokio::test]
    async fn a_row_edited_by_hand_is_an_error_where_it_makes_no_sense() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        let visitor = Visitor::begin(&store).await;
        visitor.set("a", "1").await.unwrap();
        visitor.set("b", "2").await.unwrap();
        let name = schema.name();
        run(&pool, format!("update {name}.sessions_fields set hot = -7 where name = 'a'")).await;
        assert_eq!(kind(visitor.load().await), StoreErrorKind::Corrupt);
        assert_eq!(visitor.get("b").await.unwrap().unwrap(), "2", "the others can be read");
        assert_eq!(visitor.set("a", "1").await.unwrap(), APPLIED, "and it can be written over");
        assert_eq!(visitor.get("a").await.unwrap().unwrap(), "1");

        // Times that cannot be are only times.
        let tomorrow = "now() + interval '1 day'";
        run(
            &pool,
            format!("update {name}.sessions set created_at = {tomorrow}, rotated_at = {tomorrow}"),
        )
        .await;
        let Lookup::Found(loaded) = visitor.load().await.unwrap() else { panic!("it is there") };
        assert_eq!(loaded.meta.age, Duration::ZERO);
        run(&pool, format!("alter table {name}.sessions_fields alter value drop not null")).await;
        run(&pool, format!("update {name}.sessions_fields set value = null")).await;
        assert_eq!(kind(visitor.load().await), StoreErrorKind::Corrupt);
    }
}

mod cleanup {
    use super::*;

    /// Lets all sessions of a schema but those that never end end two hours ago.
    async fn all_end(pool: &PgPool, schema: &str) {
        run(
            pool,
            format!("update {schema}.sessions set idle_at = now() - interval '2 hours' where idle_at is not null"),
        )
        .await;
    }

    async fn rows(pool: &PgPool, schema: &str) -> (i64, i64) {
        let count =
            async |table| number(pool, format!("select count(*) from {schema}.{table}")).await;
        (count("sessions").await, count("sessions_fields").await)
    }

    async fn sessions(store: &Arc<PostgresStore>, count: usize, idle: Option<Ttl>) {
        let value = Bytes::from_static(b"1");
        for _ in 0..count {
            let visitor = Visitor::new(store);
            let fields =
                [FieldWrite { name: "a", value: &value, ttl: None, hot: CachePolicy::Auto }];
            let Visitor { id, secret, .. } = &visitor;
            store
                .create(Create { id, secret, idle, absolute: None, fields: &fields, sign_in: None })
                .await
                .unwrap();
        }
    }

    const HOUR: Option<Ttl> = Some(Ttl::from_secs(3600));

    #[tokio::test]
    async fn a_sweep_removes_what_ended_and_no_more_than_it_may() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        sessions(&store, 7, HOUR).await;
        all_end(&pool, schema.name()).await;
        sessions(&store, 2, HOUR).await;
        sessions(&store, 3, None).await;
        assert_eq!(rows(&pool, schema.name()).await, (12, 12));
        assert_eq!(store.delete_expired(5).await.unwrap(), 5);
        assert_eq!(rows(&pool, schema.name()).await, (7, 7));
        assert_eq!(store.delete_expired(5).await.unwrap(), 2);
        assert_eq!(store.delete_expired(5).await.unwrap(), 0);
        assert_eq!(rows(&pool, schema.name()).await, (5, 5));
    }

    /// What another transaction holds is left for the next time.
    #[tokio::test]
    async fn a_sweep_waits_for_nobody() {
        let (store, pool, schema) = store(Postgres::shared()).await;
        sessions(&store, 3, HOUR).await;
        all_end(&pool, schema.name()).await;
        let mut other = pool.begin().await.unwrap();
        let lock = format!("select 1 from {}.sessions limit 1 for update", schema.name());
        other.execute(AssertSqlSafe(lock)).await.unwrap();
        assert_eq!(store.delete_expired(10).await.unwrap(), 2);
        other.rollback().await.unwrap();
        assert_eq!(store.delete_expired(10).await.unwrap(), 1);
    }

    /// In the background, in batches, through errors, and only as long as there is a store.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn it_works_by_itself_until_the_last_clone_is_gone() {
        let server = Postgres::shared();
        let (pool, schema) = (server.pool(4), server.schema());
        let name = schema.name();
        let often = builder(&pool, &schema).cleanup_interval(Duration::ZERO);
        let store = Arc::new(often.build().await.unwrap());
        sessions(&store, 600, HOUR).await;
        all_end(&pool, name).await;
        while rows(&pool, name).await != (0, 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        run(&pool, format!("alter table {name}.sessions rename to away")).await;
        while store.delete_expired(1).await.is_ok() {}
        tokio::time::sleep(Duration::from_millis(1500)).await;
        run(&pool, format!("alter table {name}.away rename to sessions")).await;
        sessions(&store, 3, HOUR).await;
        all_end(&pool, name).await;
        while rows(&pool, name).await != (0, 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        let clone = (*store).clone();
        drop(store);
        sessions(&Arc::new(clone.clone()), 3, HOUR).await;
        all_end(&pool, name).await;
        while rows(&pool, name).await != (0, 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sessions(&Arc::new(clone), 3, HOUR).await;
        all_end(&pool, name).await;
        let left = rows(&pool, name).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(rows(&pool, name).await, left, "somebody still works");
    }
}
