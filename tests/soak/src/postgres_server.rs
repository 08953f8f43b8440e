//! A PostgreSQL server behind a proxy, and its faults: [`PostgresServer`]. Used by the systems.

use std::time::{Duration, Instant};

use ruts_tests_stores::{
    Proxy,
    servers::{Clock, Postgres},
};
use ruts_tests_support::LONG_TIMEOUT;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, postgres::PgPoolOptions};
use tokio::{task::block_in_place, time::sleep};

use crate::{
    clock::{STEP, step},
    fault::PostgresFault,
};

/// Settings of a server that loses no acknowledged write.
const DURABLE: [&str; 3] = ["fsync=on", "synchronous_commit=on", "full_page_writes=on"];

const CLOSE_CONNECTIONS: &str = "select pg_terminate_backend(pid) from pg_stat_activity \
     where pid <> pg_backend_pid() and backend_type = 'client backend'";

/// A server, and a proxy in front of it. The address of the proxy stays the same.
pub struct PostgresServer {
    server: Postgres,
    clock: Clock,
    name: Proxy,
    /// The pool of the store. Other code of the application uses it too.
    pool: PgPool,
}

impl PostgresServer {
    /// Starts the server.
    pub async fn start() -> Self {
        let clock = Clock::new();
        let server = block_in_place(|| Postgres::start_by(&clock, &DURABLE));
        let name = Proxy::before(&server.address()).await;
        let url = server.url().replace(&server.address(), name.address());
        let pool = PgPoolOptions::new()
            .max_connections(6)
            .connect_lazy(&url)
            .expect("the URL should be valid");
        Self { server, clock, name, pool }
    }

    /// Returns the pool for a store.
    pub fn pool(&self) -> PgPool {
        self.pool.clone()
    }

    /// Causes a fault, waits for `duration`, and ends it. Returns when the server can be used.
    pub async fn strike(&self, fault: PostgresFault, duration: Duration) {
        match fault {
            PostgresFault::Standby => {
                block_in_place(|| {
                    self.server.stop();
                    self.server.restart_as_standby();
                });
                sleep(duration).await;
                self.run(&["select pg_promote()"]).await;
            }
            PostgresFault::Network(fault) => fault.strike(&self.name, duration).await,
            PostgresFault::CloseConnections => self.run(&[CLOSE_CONNECTIONS]).await,
            PostgresFault::IdleTimeout => self.set("idle_session_timeout", "200", duration).await,
            PostgresFault::Restart => {
                block_in_place(|| self.server.stop());
                sleep(duration / 2).await;
                block_in_place(|| self.server.restart());
            }
            PostgresFault::Kill => {
                block_in_place(|| self.server.kill());
                sleep(duration / 2).await;
                block_in_place(|| self.server.restart());
            }
            PostgresFault::DiscardAll => {
                for _ in 0..self.pool.num_idle() {
                    if let Some(mut connection) = self.pool.try_acquire() {
                        let _ = connection.execute("discard all").await;
                    }
                }
            }
            PostgresFault::Isolation => {
                let set = "alter role postgres set default_transaction_isolation to serializable";
                self.run(&[set, CLOSE_CONNECTIONS]).await;
                sleep(duration).await;
                let reset = "alter role postgres reset default_transaction_isolation";
                self.run(&[reset]).await;
            }
            PostgresFault::ReadOnly => {
                self.set("default_transaction_read_only", "on", duration).await;
            }
            PostgresFault::StatementTimeout => self.set("statement_timeout", "1", duration).await,
            PostgresFault::RowLocks => {
                let lock = "select from sessions order by random() limit 5 for update";
                self.lock(lock, duration).await;
            }
            PostgresFault::ClockAhead => step(&self.clock, STEP, duration).await,
            PostgresFault::ClockBehind => step(&self.clock, -STEP, duration).await,
            PostgresFault::TableLock => {
                self.lock("lock table sessions in access exclusive mode", duration).await;
            }
        }
    }

    async fn connection(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = PgConnection::connect(self.server.url()).await?;
        let own = "set statement_timeout to 0; set idle_session_timeout to 0; \
                   set default_transaction_read_only to off";
        sqlx::raw_sql(own).execute(&mut connection).await?;
        Ok(connection)
    }

    /// Runs statements on a new connection. If the server closes the connection, runs the
    /// statements again, because PostgreSQL closes all connections after a crash of one backend
    /// process.
    async fn run(&self, statements: &[&str]) {
        let begun = Instant::now();
        loop {
            let ran = async {
                let mut connection = self.connection().await?;
                for statement in statements {
                    let statement = AssertSqlSafe((*statement).to_owned());
                    connection.execute(statement).await?;
                }
                Ok::<_, sqlx::Error>(())
            };
            match ran.await {
                Ok(()) => return,
                Err(error) => assert!(begun.elapsed() < LONG_TIMEOUT, "{statements:?}: {error}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn set(&self, setting: &'static str, value: &str, duration: Duration) {
        for (value, pause) in [(value, duration), ("default", Duration::ZERO)] {
            let set = format!("alter system set {setting} to {value}");
            self.run(&[&set, "select pg_reload_conf()"]).await;
            sleep(pause).await;
        }
        // A reload takes effect a moment later, even in new connections.
        let show = "select setting from pg_settings where name = $1";
        loop {
            let now = async {
                let mut connection = PgConnection::connect(self.server.url()).await?;
                sqlx::query_scalar(show).bind(setting).fetch_one(&mut connection).await
            };
            if now.await.is_ok_and(|now: String| now != value) {
                return;
            }
        }
    }

    /// Holds a lock for `duration`. If the server closes the connection earlier, the lock ends
    /// then.
    async fn lock(&self, lock: &'static str, duration: Duration) {
        let locked = async {
            let mut connection = self.connection().await?;
            let mut transaction = connection.begin().await?;
            transaction.execute(lock).await?;
            sleep(duration).await;
            transaction.rollback().await
        };
        let _: Result<(), sqlx::Error> = locked.await;
    }
}
