//! The entries by which sessions are found by a field marked `index`.

use std::{sync::Arc, time::Duration};

use axum::Router;
use ruts::{
    Error, SessionLayer,
    field::Field,
    session,
    session::IndexedSessions,
    store::{
        StoreErrorKind,
        memory::{ManualClock, MemoryStore},
    },
    testing::{Client, with_session},
};
use ruts_tests_support::{Fault, InstrumentedStore, new_client};

#[session]
struct Account {
    #[field(principal)]
    user: u64,
    #[field(index)]
    sid: String,
}

const MINUTE: Duration = Duration::from_secs(60);

struct Fixture {
    clock: ManualClock,
    store: InstrumentedStore<MemoryStore>,
    client: Client,
}

impl Fixture {
    /// Signs a user in, with the value `a`.
    async fn new() -> Self {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        let store = InstrumentedStore::new(store);
        let app = Router::new().layer(SessionLayer::new(store.clone()));
        let fixture = Self { clock, store, client: new_client(app) };
        let sign_in =
            |account: Account| async move { account.edit().user(&7).sid("a").commit().await };
        fixture.run(sign_in).await.unwrap();
        fixture
    }

    async fn run<F>(&self, act: impl FnOnce(Account) -> F + Send + 'static) -> F::Output
    where
        F: Future<Output: Send + 'static> + Send,
    {
        with_session(&self.client, &SessionLayer::new(self.store.clone()), act).await
    }

    async fn set(&self, sid: &'static str) -> Result<(), Error> {
        self.run(move |account: Account| async move { account.set_sid(sid).await }).await
    }

    fn by(&self, sid: &str) -> IndexedSessions {
        Account::sessions(self.store.clone()).by_sid(sid)
    }

    async fn number(&self, sid: &str) -> usize {
        self.by(sid).list((), None, 10).await.unwrap().sessions.len()
    }
}

/// Entries of values that a session no longer has do not accumulate.
#[tokio::test]
async fn an_outdated_entry_is_taken_out() {
    let fixture = Fixture::new().await;
    fixture.set("b").await.unwrap();
    fixture.store.take_calls();
    assert_eq!(fixture.number("a").await, 0);
    assert_eq!(
        fixture.store.take_calls(),
        ["list_by_principal", "load"],
        "the write may be in progress"
    );
    fixture.clock.advance(11 * MINUTE);
    assert_eq!(fixture.number("a").await, 0);
    assert_eq!(fixture.store.take_calls(), ["list_by_principal", "load", "update"]);
    assert_eq!(fixture.number("a").await, 0);
    assert_eq!(fixture.store.take_calls(), ["list_by_principal"]);
    fixture.set("a").await.unwrap();
    assert_eq!(fixture.number("a").await, 1, "the entry can be added again");
}

/// A reader finds an outdated entry. Before it takes the entry out, the session gets the value again.
#[tokio::test]
async fn an_entry_that_is_added_again_stays() {
    let fixture = Fixture::new().await;
    fixture.set("b").await.unwrap();
    fixture.clock.advance(11 * MINUTE);
    let mut pause = fixture.store.pause_after("load");
    let sessions = fixture.by("a");
    let reader =
        tokio::spawn(async move { sessions.list((), None, 10).await.unwrap().sessions.len() });
    pause.reached().await;
    fixture.set("a").await.unwrap();
    pause.resume();
    assert_eq!(reader.await.unwrap(), 0);
    assert_eq!(fixture.number("a").await, 1);
    assert_eq!(fixture.by("a").revoke_all().await.unwrap(), 1);
}

/// The entry is added before the value is written, so a failure leaves no value without its entry.
#[tokio::test]
async fn without_an_entry_nothing_is_written() {
    let fixture = Fixture::new().await;
    fixture.store.take_calls();
    fixture.set("b").await.unwrap();
    assert_eq!(fixture.store.take_calls(), ["create", "update"]);
    fixture.set("b").await.unwrap();
    assert_eq!(
        fixture.store.take_calls(),
        ["create", "update", "update"],
        "the entry is prolonged"
    );
    fixture.store.fail_next(Fault::Unreachable);
    let failed = fixture.set("c").await;
    assert!(
        matches!(&failed, Err(Error::Store(error)) if error.kind() == StoreErrorKind::Unavailable),
        "{failed:?}"
    );
    assert_eq!(fixture.number("b").await, 1);
    assert_eq!(fixture.number("c").await, 0);
}

/// A sign-in restarts the absolute timeout, so the entries have to last for longer, too.
#[tokio::test]
async fn a_sign_in_prolongs_the_entries() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let fixture = Fixture::new().await;
    let sign_in = |account: Account| async move { account.set_user(&7).await.unwrap() };
    for day in 1..50 {
        fixture.clock.advance(DAY);
        // The default timeouts are 7 days without a request, and 30 days since the sign-in.
        if day % 20 == 0 {
            fixture.run(sign_in).await;
        } else {
            fixture.run(|account: Account| async move { account.user().await.unwrap() }).await;
        }
        assert_eq!(fixture.number("a").await, 1, "day {day}");
    }
}

#[tokio::test]
async fn a_deleted_session_frees_its_entries() {
    let fixture = Fixture::new().await;
    fixture.store.take_calls();
    let delete = |account: Account| async move { account.session().delete().await };
    fixture.run(delete).await.unwrap();
    assert_eq!(fixture.store.take_calls(), ["load", "delete", "delete"]);
    assert_eq!(fixture.number("a").await, 0);
    assert_eq!(fixture.store.take_calls(), ["list_by_principal"]);
}

#[tokio::test]
async fn only_a_field_marked_index_finds_sessions() {
    const SPEC: ruts::field::FieldSpec = ruts::field::FieldSpec::new("sid");
    const SID: Field<String> = Field::new(&SPEC);
    let store = Arc::new(MemoryStore::new());
    let index = ruts::session::SessionIndex::of::<Account>(&store);
    let refused = index.by_index(SID, "a").revoke_all().await;
    assert!(matches!(refused, Err(Error::Encode { .. })), "{refused:?}");
}
