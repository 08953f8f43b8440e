//! A MariaDB or MySQL server behind a proxy, and its faults: [`MySqlServer`]. Used by the systems.

use std::time::Duration;

use ruts_tests_stores::{
    Proxy,
    servers::{Clock, MySql, kill_others, mysql_options},
};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, mysql::MySqlConnectOptions};
use tokio::{task::block_in_place, time::sleep};

use crate::{
    clock::{STEP, step},
    fault::MySqlFault,
};

/// The settings of a server that loses no acknowledged write when its process is killed.
const DURABLE: [&str; 1] = ["innodb_flush_log_at_trx_commit=1"];

/// The tables of the store.
pub const TABLES: &str = "sessions";

/// A server, and a proxy in front of it. The address of the proxy stays the same.
pub struct MySqlServer {
    server: MySql,
    clock: Clock,
    name: Proxy,
}

impl MySqlServer {
    /// Starts the server.
    pub async fn start() -> Self {
        let clock = Clock::new();
        let server = block_in_place(|| MySql::start_by(&clock, &DURABLE));
        let name = Proxy::before(&server.address()).await;
        Self { server, clock, name }
    }

    /// Returns the options of the connections of a store.
    pub fn options(&self) -> MySqlConnectOptions {
        mysql_options(self.name.address())
    }

    /// Causes a fault, waits for `duration`, and ends it. Returns when the server can be used.
    pub async fn strike(&self, fault: MySqlFault, duration: Duration) {
        match fault {
            MySqlFault::Network(fault) => fault.strike(&self.name, duration).await,
            MySqlFault::CloseConnections => self.close_connections().await,
            MySqlFault::IdleTimeout => {
                let duration = duration + Duration::from_secs(2);
                self.set("global wait_timeout", ["1", "28800"], duration).await;
            }
            MySqlFault::Restart => {
                block_in_place(|| self.server.stop());
                sleep(duration / 2).await;
                block_in_place(|| self.server.restart());
            }
            MySqlFault::Kill => {
                block_in_place(|| self.server.kill());
                sleep(duration / 2).await;
                block_in_place(|| self.server.restart());
            }
            MySqlFault::Pause => {
                block_in_place(|| self.server.pause());
                sleep(duration).await;
                block_in_place(|| self.server.resume());
            }
            MySqlFault::Isolation => {
                let levels = ["serializable", "repeatable read"];
                for level in levels {
                    self.run(&format!("set global transaction isolation level {level}")).await;
                    self.close_connections().await;
                    sleep(duration / 2).await;
                }
            }
            MySqlFault::ReadOnly => self.set("global read_only", ["1", "0"], duration).await,
            MySqlFault::RowLocks => {
                let lock = format!("select id from {TABLES} order by rand() limit 5 for update");
                self.hold(&["begin", &lock], "rollback", duration).await;
            }
            MySqlFault::ClockAhead => step(&self.clock, STEP, duration).await,
            MySqlFault::ClockBehind => step(&self.clock, -STEP, duration).await,
            MySqlFault::TableLock => {
                let lock = format!("lock tables {TABLES} write");
                self.hold(&[&lock], "unlock tables", duration).await;
            }
        }
    }

    async fn connection(&self) -> MySqlConnection {
        let options = self.server.options();
        MySqlConnection::connect_with(&options)
            .await
            .expect("the server should accept a connection")
    }

    async fn run(&self, statement: &str) {
        execute(&mut self.connection().await, statement).await;
    }

    async fn set(&self, setting: &str, [value, default]: [&str; 2], duration: Duration) {
        self.run(&format!("set {setting} = {value}")).await;
        sleep(duration).await;
        self.run(&format!("set {setting} = {default}")).await;
    }

    async fn close_connections(&self) {
        kill_others(&mut self.connection().await).await;
    }

    async fn hold(&self, locks: &[&str], release: &str, duration: Duration) {
        let mut connection = self.connection().await;
        for lock in locks {
            execute(&mut connection, lock).await;
        }
        sleep(duration).await;
        execute(&mut connection, release).await;
    }
}

async fn execute(connection: &mut MySqlConnection, statement: &str) {
    let statement = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
    connection.execute(statement).await.expect("the server should run a statement of root");
}
