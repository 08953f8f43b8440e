//! Does a [`Job`] with tower-sessions 0.14 and its sqlx 0.8 store.
//!
//! Started by the benchmark `sql` of `benches/servers`.

use std::{error::Error, sync::Arc, time::Duration};

use benches::visits::{CONNECTIONS, Database, FIELDS, Job, Values, Visitor};
use serde_json::Value;
use tower_sessions::{
    Session, SessionStore,
    session::{Id, Record},
};
use tower_sessions_sqlx_store::{
    MySqlStore, SqliteStore,
    sqlx::{
        MySqlPool, SqlitePool,
        pool::PoolOptions,
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
    },
};

/// Time to wait for a connection or a lock, long enough that no request fails.
const PATIENCE: Duration = Duration::from_secs(60);

const COUNTER: &str = "number";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let job = Job::from_args()?.ok_or("only the benchmark `sql` starts this program")?;
    match &job.database {
        Database::Sqlite { file, full } => {
            let synchronous =
                if *full { SqliteSynchronous::Full } else { SqliteSynchronous::Normal };
            let options = SqliteConnectOptions::new()
                .filename(file)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(synchronous)
                .busy_timeout(PATIENCE);
            let pool: SqlitePool = pool_options().connect_with(options).await?;
            let store = SqliteStore::new(pool);
            store.migrate().await?;
            visit(&job, store).await;
        }
        Database::MySql { url } => {
            let pool: MySqlPool = pool_options().connect(url).await?;
            let store = MySqlStore::new(pool);
            store.migrate().await?;
            visit(&job, store).await;
        }
    }
    Ok(())
}

/// Returns options that open all connections at the start, and test none before its use. A test
/// would be a round trip for each request.
fn pool_options<D: tower_sessions_sqlx_store::sqlx::Database>() -> PoolOptions<D> {
    PoolOptions::new()
        .min_connections(CONNECTIONS)
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false)
}

async fn visit<S: SessionStore>(job: &Job, store: S) {
    let store = Arc::new(store);
    job.run(async |values| PeerVisitor::begin(&store, values).await).await;
}

struct PeerVisitor<S> {
    store: Arc<S>,
    id: Id,
    /// The session in the state in which an earlier request read it.
    record: Record,
}

impl<S> Clone for PeerVisitor<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), id: self.id, record: self.record.clone() }
    }
}

impl<S: SessionStore> PeerVisitor<S> {
    async fn begin(store: &Arc<S>, values: Values) -> Self {
        let session = Session::new(None, Arc::clone(store), None);
        for (name, value) in FIELDS.into_iter().zip(values) {
            session.insert(name, value).await.expect("the value should be text");
        }
        session.save().await.expect("the session should be created");
        let id = session.id().expect("the saved session should have an id");
        let record = load(&**store, &id).await;
        Self { store: Arc::clone(store), id, record }
    }
}

async fn load(store: &impl SessionStore, id: &Id) -> Record {
    store.load(id).await.expect("the database should answer").expect("the session should exist")
}

async fn save(store: &impl SessionStore, record: &mut Record, values: Values) {
    for (name, value) in FIELDS.into_iter().zip(values) {
        record.data.insert(name.to_owned(), Value::String(value));
    }
    store.save(record).await.expect("the session should be saved");
}

impl<S: SessionStore> Visitor for PeerVisitor<S> {
    async fn read(&mut self) {
        let record = load(&*self.store, &self.id).await;
        assert!(FIELDS.iter().all(|name| record.data.contains_key(*name)));
    }

    /// Writes as `Session::insert` and the middleware do: the first change loads the record.
    async fn write(&mut self, values: Values) {
        let mut record = load(&*self.store, &self.id).await;
        save(&*self.store, &mut record, values).await;
    }

    async fn write_unread(&mut self, values: Values) {
        save(&*self.store, &mut self.record, values).await;
    }

    async fn increment(&mut self) {
        let session = Session::new(Some(self.id), Arc::clone(&self.store), None);
        let number: Option<u64> = session.get(COUNTER).await.expect("the session should exist");
        let next = number.unwrap_or(0) + 1;
        session.insert(COUNTER, next).await.expect("the number should be a valid value");
        session.save().await.expect("the session should be saved");
    }

    async fn number(&mut self) -> u64 {
        let record = load(&*self.store, &self.id).await;
        record.data.get(COUNTER).and_then(Value::as_u64).unwrap_or(0)
    }
}
