//! Tests of index entries, which lead from the value of a field marked `index` to the sessions that
//! have this value.

use std::{sync::Arc, time::Duration};

use axum::{Router, http::StatusCode, routing::get};
use ruts::{
    Error, SessionLayer,
    field::Field,
    session,
    session::{DefaultLayer, IndexedSessions, TypedSession},
    store::{
        Store, StoreErrorKind,
        memory::{ManualClock, MemoryStore},
    },
    testing::{Client, with_session},
};
use ruts_tests_support::{ClientExt, Fault, InstrumentedStore, new_client};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

#[session]
struct Account {
    #[field(principal)]
    user: u64,
    #[field(index)]
    sid: String,
}

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone)]
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
        self.run_as(act).await
    }

    async fn run_as<S, F>(&self, act: impl FnOnce(S) -> F + Send + 'static) -> F::Output
    where
        S: TypedSession<Layer = DefaultLayer>,
        F: Future<Output: Send + 'static> + Send,
    {
        with_session(&self.client, &SessionLayer::new(self.store.clone()), act).await
    }

    async fn set(&self, sid: &'static str) -> Result<(), Error> {
        self.run(move |account: Account| async move { account.set_sid(sid).await }).await
    }

    /// Starts a [`set`](Self::set) that a test can pause or drop.
    fn start_set(&self, sid: &'static str) -> JoinHandle<Result<(), Error>> {
        let fixture = self.clone();
        tokio::spawn(async move { fixture.set(sid).await })
    }

    fn by(&self, sid: &str) -> IndexedSessions {
        Account::sessions(self.store.clone()).by_sid(sid)
    }

    /// Waits until freed index entries have expired. Returns the number of sessions that are left
    /// in the store, including index entries.
    async fn live(&self) -> usize {
        self.clock.advance(Duration::from_secs(2));
        self.store.delete_expired(100).await.unwrap();
        self.store.inner().len()
    }

    async fn number(&self, sid: &str) -> usize {
        self.by(sid).list((), None, 10).await.unwrap().sessions.len()
    }
}

/// Each session has one index entry for its value. A lookup removes an outdated entry that is older
/// than ten minutes.
#[tokio::test]
async fn an_outdated_entry_is_taken_out() {
    let fixture = Fixture::new().await;
    fixture.set("b").await.unwrap();
    fixture.store.take_calls();
    assert_eq!(fixture.number("a").await, 0);
    assert_eq!(
        fixture.store.take_calls(),
        ["list_by_principal"],
        "a new value should have freed the former entry"
    );
    let take = |account: Account| async move { account.sid().take().await.unwrap() };
    assert_eq!(fixture.run(take).await.unwrap(), "b");
    fixture.store.take_calls();
    assert_eq!(fixture.number("b").await, 0);
    assert_eq!(
        fixture.store.take_calls(),
        ["list_by_principal", "load"],
        "a young entry should stay, because it may belong to a write in progress"
    );
    fixture.clock.advance(11 * MINUTE);
    assert_eq!(fixture.number("b").await, 0);
    assert_eq!(fixture.store.take_calls(), ["list_by_principal", "load", "update"]);
    assert_eq!(fixture.number("b").await, 0);
    assert_eq!(fixture.store.take_calls(), ["list_by_principal"]);
    fixture.set("b").await.unwrap();
    assert_eq!(fixture.number("b").await, 1, "the removed entry should be added again");
}

/// A reader finds an outdated entry. Before the reader removes the entry, the session gets the
/// value again.
#[tokio::test]
async fn an_entry_that_is_added_again_stays() {
    let fixture = Fixture::new().await;
    fixture.run(|account: Account| async move { account.sid().take().await.unwrap() }).await;
    fixture.clock.advance(11 * MINUTE);
    let mut pause = fixture.store.pause_before("update");
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

/// The entry is added when the session is known to be live, before the write, and checked after the
/// write.
#[tokio::test]
async fn a_refused_write_leaves_no_entry() {
    let fixture = Fixture::new().await;
    fixture.store.take_calls();
    fixture.set("b").await.unwrap();
    let of_new_value = ["load", "create", "update", "inspect", "update", "load"];
    assert_eq!(fixture.store.take_calls(), of_new_value);
    fixture.set("b").await.unwrap();
    assert_eq!(
        fixture.store.take_calls(),
        ["load", "update", "create", "update"],
        "the second write should prolong the entry"
    );
    let thief = fixture.client.steal();
    fixture.run(|account: Account| async move { account.session().delete().await.unwrap() }).await;
    fixture.store.take_calls();
    let layer = SessionLayer::new(fixture.store.clone());
    let late = |late: Account| async move { late.set_sid("c").await };
    let late = with_session(&thief, &layer, late);
    assert!(late.await.is_err());
    assert!(!fixture.store.take_calls().contains(&"create"));
    assert_eq!(fixture.live().await, 0);
}

/// A call that could not add the entry fails.
#[tokio::test]
async fn a_write_without_an_entry_is_an_error() {
    let fixture = Fixture::new().await;
    let mut pause = fixture.store.pause_after("update");
    let write = fixture.start_set("b");
    pause.reached().await;
    fixture.store.fail_next(Fault::Unreachable);
    pause.resume();
    let failed = write.await.unwrap();
    assert!(
        matches!(&failed, Err(Error::Store(error)) if error.kind() == StoreErrorKind::Unavailable),
        "{failed:?}"
    );
    fixture.set("b").await.unwrap();
    assert_eq!(fixture.number("b").await, 1, "the repeated call should add the entry");
}

/// The cookie of a different session comes first, as if a sibling domain had planted it.
#[tokio::test]
async fn the_entry_belongs_to_the_session_that_is_written() {
    let fixture = Fixture::new().await;
    let forged = format!("{}.{}", "A".repeat(22), "A".repeat(43));
    let cookie = format!("__Host-id={forged}; __Host-id={}", fixture.client.token().unwrap());
    let app = Router::new()
        .route("/", get(|account: Account| async move { account.set_sid("z").await }))
        .layer(SessionLayer::new(fixture.store.clone()));
    let reply = new_client(app).get_with("/", &[("cookie", &cookie)]).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(fixture.number("z").await, 1);
}

/// Typed keys of a session that no handler has extracted are indexed as well.
#[tokio::test]
async fn a_typed_key_is_indexed_without_its_struct() {
    let store = MemoryStore::new();
    let layer = SessionLayer::new(store.clone());
    let client = new_client(Router::new().layer(layer.clone()));
    let sign_in = |other: Other| async move {
        let edit = other.session().edit().set(Account::USER, &7).set(Account::SID, "a");
        edit.commit().await.unwrap();
    };
    with_session(&client, &layer, sign_in).await;
    let found = Account::sessions(store.clone()).by_sid("a").list((), None, 10).await.unwrap();
    assert_eq!(found.sessions.len(), 1);
    let job = Other::sessions(store).get(&found.sessions[0].id);
    let refused = job.session().entry(Account::SID).set("b").await;
    assert!(matches!(refused, Err(Error::NoRequest)), "{refused:?}");
}

#[session]
struct Other {
    #[field(principal)]
    user: u64,
}

/// A later release of [`Account`].
#[session]
struct Later {
    #[field(principal)]
    user: u64,
    #[field(index, version = 2, migrate(1 => discard))]
    sid: u64,
}

/// One session holds a value that this release cannot compare. The other sessions end, and the call
/// returns an error.
#[tokio::test]
async fn an_unreadable_value_keeps_no_other_session_alive() {
    let fixture = Fixture::new().await;
    let layer = SessionLayer::new(fixture.store.clone());
    let others: Vec<Client> = (0..5).map(|_| fixture.client.stranger()).collect();
    for other in &others {
        let sign_in =
            |account: Account| async move { account.edit().user(&8).sid("a").commit().await };
        with_session(other, &layer, sign_in).await.unwrap();
    }
    // This layer has no declaration of the field `sid`.
    let other = SessionLayer::new(fixture.store.clone());
    let write = |other: Other| async move { other.session().set("sid", &1_u64, None, None).await };
    with_session(&others[2], &other, write).await.unwrap();
    let refused = fixture.by("a").revoke_all().await;
    assert!(matches!(refused, Err(Error::Decode { .. })), "{refused:?}");
    for (number, other) in others.iter().enumerate() {
        let user = |account: Account| async move { account.user().await.unwrap() };
        let is_live = with_session(other, &layer, user).await.is_some();
        assert_eq!(is_live, number == 2, "{number}");
    }
    let user = |account: Account| async move { account.user().await.unwrap() };
    assert_eq!(fixture.run(user).await, None);
}

/// A sign-in succeeds even if the field holds a value of a former version without a key, or a value
/// of a newer release.
#[tokio::test]
async fn a_sign_in_works_whatever_the_field_holds() {
    let fixture = Fixture::new().await;
    let sign_in = |account: Later| async move { account.set_user(&7).await };
    fixture.run_as(sign_in).await.unwrap();
    fixture.run_as(|account: Later| async move { account.set_sid(&1).await }).await.unwrap();
    fixture.run(|account: Account| async move { account.set_user(&8).await }).await.unwrap();
    fixture.run(|account: Account| async move { account.set_user(&7).await }).await.unwrap();
}

/// A sign-in restarts the absolute timeout, so the index entries have to live longer, too.
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
    assert_eq!(
        fixture.store.take_calls(),
        ["load", "delete", "update"],
        "the session and its entry should end"
    );
    assert_eq!(fixture.number("a").await, 0);
    assert_eq!(fixture.store.take_calls(), ["list_by_principal"]);
    assert_eq!(fixture.live().await, 0);
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

/// A request takes the value before it has read the principal, and then writes a new value.
#[tokio::test]
async fn a_value_that_replaces_a_taken_one_is_found() {
    let fixture = Fixture::new().await;
    let replace = |account: Account| async move {
        assert_eq!(account.sid().take().await.unwrap().unwrap(), "a");
        account.set_sid("b").await.unwrap();
    };
    fixture.run(replace).await;
    assert_eq!(fixture.number("b").await, 1);
}

/// A session may switch back and forth between two values.
#[tokio::test]
async fn a_value_is_found_each_time_it_is_written_again() {
    let fixture = Fixture::new().await;
    for _ in 0..10 {
        for (value, other) in [("b", "a"), ("a", "b")] {
            fixture.set(value).await.unwrap();
            assert_eq!([fixture.number(value).await, fixture.number(other).await], [1, 0]);
        }
    }
    assert_eq!(fixture.live().await, 2, "the store should hold the session and one entry");
}

#[tokio::test]
async fn a_user_may_sign_out_and_in_again_at_once() {
    let fixture = Fixture::new().await;
    for _ in 0..10 {
        let sign_out = |account: Account| async move { account.user().remove().await };
        fixture.run(sign_out).await.unwrap();
        assert_eq!(fixture.number("a").await, 0);
        assert_eq!(fixture.live().await, 1, "the sign-out should free the entry");
        let sign_in =
            |account: Account| async move { account.edit().user(&7).sid("a").commit().await };
        fixture.run(sign_in).await.unwrap();
        assert_eq!(fixture.number("a").await, 1);
    }
}

/// A guest's request has read the field. Another request writes the field. Then the first request
/// signs in.
#[tokio::test]
async fn a_sign_in_finds_a_value_that_was_written_after_it_was_read() {
    let fixture = Fixture::new().await;
    let sign_out = |account: Account| async move { account.user().remove().await };
    fixture.run(sign_out).await.unwrap();
    let (store, other) = (fixture.store.clone(), fixture.client.clone());
    let sign_in = move |account: Account| async move {
        assert_eq!(account.sid().await.unwrap().unwrap(), "a");
        let set = |account: Account| async move { account.set_sid("b").await.unwrap() };
        with_session(&other, &SessionLayer::new(store), set).await;
        account.set_user(&7).await
    };
    fixture.run(sign_in).await.unwrap();
    assert_eq!([fixture.number("a").await, fixture.number("b").await], [0, 1]);
    assert_eq!(fixture.by("b").revoke_all().await.unwrap(), 1);
}

/// A request frees the entry of a former value. Meanwhile, another request has written that value
/// again.
#[tokio::test]
async fn a_late_free_does_not_remove_the_entry_of_a_value_written_again() {
    let fixture = Fixture::new().await;
    let mut pause = fixture.store.pause_after("inspect");
    let late = fixture.start_set("b");
    pause.reached().await;
    fixture.set("a").await.unwrap();
    pause.resume();
    late.await.unwrap().unwrap();
    assert_eq!(fixture.number("a").await, 1);
}

/// The client disconnects after the store has made the write, so the request is dropped.
#[tokio::test]
async fn a_dropped_write_is_found_by_its_value() {
    let fixture = Fixture::new().await;
    let mut pause = fixture.store.pause_after("update");
    let dropped = fixture.start_set("b");
    pause.reached().await;
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    assert_eq!(fixture.number("b").await, 1);
    assert_eq!(fixture.by("b").revoke_all().await.unwrap(), 1);
}

/// Another request frees the entry of a value after it was added and before the value is written.
#[tokio::test]
async fn an_entry_that_was_freed_before_the_write_is_added_again() {
    let fixture = Fixture::new().await;
    let mut pause = fixture.store.pause_before("update");
    let write = fixture.start_set("c");
    pause.reached().await;
    fixture.set("c").await.unwrap();
    fixture.set("d").await.unwrap();
    pause.resume();
    write.await.unwrap().unwrap();
    assert_eq!(fixture.number("c").await, 1);
}

/// After a sign-in that starts a new session, the old session stays live. So the sign-in does not
/// remove the index entry of the old session.
#[tokio::test]
async fn a_sign_in_with_a_replaced_secret_keeps_the_entry_of_the_live_session() {
    let fixture = Fixture::new().await;
    let (store, other) = (fixture.store.clone(), fixture.client.clone());
    let sign_in = move |account: Account| async move {
        assert_eq!(account.sid().await.unwrap().unwrap(), "a");
        let rotate =
            |account: Account| async move { account.session().regenerate().await.unwrap() };
        with_session(&other, &SessionLayer::new(store), rotate).await;
        account.edit().user(&9).sid("c").commit().await
    };
    let _ = fixture.run(sign_in).await;
    assert_eq!(fixture.number("a").await, 1);
}

#[tokio::test]
async fn a_value_that_is_written_by_name_is_found() {
    let fixture = Fixture::new().await;
    let write =
        |account: Account| async move { account.session().set("sid", "b", None, None).await };
    fixture.run(write).await.unwrap();
    assert_eq!((fixture.number("a").await, fixture.number("b").await), (0, 1));
    let remove = |account: Account| async move { account.session().remove("sid").await };
    assert!(fixture.run(remove).await.unwrap());
    assert_eq!(fixture.number("b").await, 0);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sid {
    name: String,
    provider: u32,
}
impl From<String> for Sid {
    fn from(name: String) -> Self {
        Self { name, provider: 0 }
    }
}
impl TryFrom<Sid> for String {
    type Error = &'static str;

    fn try_from(Sid { name, provider }: Sid) -> Result<Self, Self::Error> {
        if provider == 0 { Ok(name) } else { Err("only one provider was known") }
    }
}
#[session]
struct Renewed {
    #[field(principal)]
    user: u64,
    #[field(index, version = 2, migrate(1 => String))]
    sid: Sid,
}

#[session]
struct RenewedWithoutIndex {
    #[field(principal)]
    user: u64,
    #[field(version = 2, migrate(1 => String))]
    sid: Sid,
}

#[session]
struct WithoutIndex {
    #[field(principal)]
    user: u64,
    sid: String,
}

/// A release cannot read a value of a later version, but it finds the session and keeps it in the
/// index.
#[tokio::test]
async fn the_release_before_finds_a_value_of_a_later_version() {
    let store = MemoryStore::new();
    // Each release has a layer of its own, because their schemas conflict.
    let (before, after) = (SessionLayer::new(store.clone()), SessionLayer::new(store.clone()));
    let client = new_client(Router::new().layer(before.clone()));
    let sid = Sid::from("a".to_owned());
    let guest = sid.clone();
    with_session(&client, &after, |later: Renewed| async move { later.set_sid(&guest).await })
        .await
        .unwrap();
    with_session(&client, &before, |account: Account| async move { account.set_user(&7).await })
        .await
        .unwrap();
    let found =
        async |sessions: IndexedSessions| sessions.list((), None, 10).await.unwrap().sessions.len();
    assert_eq!(found(Renewed::sessions(store.clone()).by_sid(&sid)).await, 1);
    assert_eq!(found(Account::sessions(store.clone()).by_sid("a")).await, 1);
    let other = Sid { provider: 1, ..sid.clone() };
    with_session(&client, &after, move |later: Renewed| async move { later.set_sid(&other).await })
        .await
        .unwrap();
    assert_eq!(found(Account::sessions(store.clone()).by_sid("a")).await, 0);
    with_session(&client, &before, |account: Account| async move { account.set_user(&7).await })
        .await
        .unwrap();
    let other = Sid { provider: 1, ..sid };
    assert_eq!(Renewed::sessions(store).by_sid(&other).revoke_all().await.unwrap(), 1);
}

/// The key that is stored with a value belongs to this value alone, and a release that rewrites the
/// value rewrites the key.
#[tokio::test]
async fn a_key_beside_another_value_finds_nothing() {
    let fixture = Fixture::new().await;
    let sid = Sid::from("b".to_owned());
    let set = |later: RenewedWithoutIndex| async move { later.set_sid(&sid).await };
    fixture.run_as(set).await.unwrap();
    let found = fixture.by("a").revoke_all().await;
    assert!(matches!(found, Err(Error::Newer { .. })), "{found:?}");

    let fixture = Fixture::new().await;
    let set = |shop: WithoutIndex| async move { shop.set_sid("c").await };
    fixture.run_as(set).await.unwrap();
    fixture.run(|account: Account| async move { account.set_user(&7).await }).await.unwrap();
    let settle = |later: Renewed| async move { later.sid().settle().await };
    assert!(fixture.run_as(settle).await.unwrap());
    assert_eq!(fixture.number("c").await, 1);
}

/// A guest has a value of a later version, and the response to a rotation is lost. The sign-in
/// takes over the key.
#[tokio::test]
async fn a_sign_in_takes_over_the_key_beside_a_value() {
    let store = MemoryStore::new();
    let (before, after) = (SessionLayer::new(store.clone()), SessionLayer::new(store.clone()));
    let client = new_client(Router::new().layer(before.clone()));
    let sid = Sid::from("a".to_owned());
    let guest = sid.clone();
    let set = |later: Renewed| async move { later.set_sid(&guest).await };
    with_session(&client, &after, set).await.unwrap();
    let former = client.steal();
    let rotate = |later: Renewed| async move { later.session().regenerate().await };
    with_session(&client, &after, rotate).await.unwrap();
    let sign_in = |account: Account| async move { account.set_user(&7).await };
    with_session(&former, &before, sign_in).await.unwrap();
    let page = Account::sessions(store.clone()).by_sid("a").list((), None, 10).await.unwrap();
    assert_eq!(page.sessions.len(), 1);
    assert_eq!(Renewed::sessions(store).by_sid(&sid).revoke_all().await.unwrap(), 1);
}
