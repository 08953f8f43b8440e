//! Does a [`Job`] with ruts.
//!
//! Called by `main`, in the child processes of this benchmark.

use std::{sync::Arc, time::Duration};

use benches::visits::{CONNECTIONS, Database, FIELDS, Job, Values, Visitor};
use bytes::Bytes;
use ruts::{
    Ttl, session,
    store::{
        Change, FieldWrite, Projection, Store, Touch, Update,
        mysql::MySqlStore,
        sqlite::{Durability, SqliteStore},
    },
};
use ruts_tests_support::{APPLIED, TestSession};

/// The default idle timeout of a layer.
const IDLE: Ttl = Ttl::from_secs(14 * 24 * 3600);

#[session]
struct Counter {
    #[field(principal)]
    user: String,
    #[field(default)]
    number: u64,
}

/// Does the job, and prints its result.
#[tokio::main]
pub(crate) async fn run(job: &Job) {
    match &job.database {
        Database::Sqlite { file, full } => {
            let durability = if *full { Durability::Full } else { Durability::Normal };
            let builder = SqliteStore::builder(file).durability(durability);
            visit(job, builder.cleanup_interval(None).build().await.unwrap()).await;
        }
        Database::MySql { url } => {
            let builder = MySqlStore::builder(url.parse().unwrap()).create_tables(true);
            let builder = builder.max_connections(CONNECTIONS).timeout(Duration::from_secs(60));
            visit(job, builder.cleanup_interval(None).build().await.unwrap()).await;
        }
    }
}

async fn visit<S: Store>(job: &Job, store: S) {
    let store = Arc::new(store);
    job.run(async |values| {
        let session = TestSession::new(&store);
        session.create(Some(IDLE)).await.unwrap();
        let mut visitor = RutsVisitor(session);
        visitor.write(values).await;
        visitor
    })
    .await;
}

struct RutsVisitor<S>(TestSession<S>);

impl<S> Clone for RutsVisitor<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Store> RutsVisitor<S> {
    fn counter(&self) -> Counter {
        Counter::sessions(&self.0.store).get(&self.0.id)
    }
}

/// Returns the touch that a layer sends by default.
fn touch() -> Touch {
    Touch::new(IDLE, IDLE.as_duration() / 8)
}

impl<S: Store> Visitor for RutsVisitor<S> {
    async fn read(&mut self) {
        let loaded = self.0.load_fields(Projection::Named(&FIELDS), Some(touch())).await;
        assert_eq!(loaded.unwrap().unwrap().fields.len(), FIELDS.len());
    }

    async fn write(&mut self, values: Values) {
        let values = values.map(Bytes::from);
        let changes: [Change<'_>; FIELDS.len()] = std::array::from_fn(|index| {
            Change::Set(FieldWrite::new(FIELDS[index], &values[index]))
        });
        let written = self.0.update(Update::new(&changes).touch(touch())).await.unwrap();
        assert_eq!(written, APPLIED);
    }

    async fn increment(&mut self) {
        self.counter().number().update(|number| *number += 1).await.unwrap();
    }

    async fn number(&mut self) -> u64 {
        self.counter().number().await.unwrap()
    }
}
