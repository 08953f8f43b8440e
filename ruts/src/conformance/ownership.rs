//! Who is signed in, and what can be done with all the sessions of somebody.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    Subject,
    client::{
        Client, Refused, applied, bytes, in_any_case, principal, put, race, runner, secret,
        session, session_for, stranger, ttl,
    },
};
use crate::{
    principal::{Assurance, PrincipalKey},
    store::{
        AuthChange, Change, Confirmed, Lookup, NewSignIn, OnLimit, PageRequest, Projection,
        RevokeTarget, Revoked, SessionLimit, SessionPage, Store, StoreErrorKind, Touch, Update,
    },
    token::SessionId,
    ttl::Ttl,
};

const HOUR: Duration = Duration::from_secs(3600);

async fn signed_in<T: Subject>(subject: &T, principal: &PrincipalKey) -> Client<T::Store> {
    let client = stranger(subject);
    client.create_for(principal, None).await.expect("a session can begin with a sign-in");
    client
}

async fn find<S: Store>(store: &Arc<S>, principal: &PrincipalKey) -> BTreeSet<SessionId> {
    let page = PageRequest { after: None, limit: 1000 };
    let listing = store
        .list_by_principal(principal, page, Projection::Named(&[]))
        .await
        .expect("the store answers");
    assert_eq!(listing.next, None);
    listing.sessions.iter().map(|listed| listed.id).collect()
}

async fn revoke<S: Store>(
    store: &Arc<S>,
    principal: &PrincipalKey,
    target: RevokeTarget<'_>,
) -> BTreeSet<SessionId> {
    let Revoked { ids, confirmed } =
        store.revoke(principal, target).await.expect("the store answers");
    assert_eq!(confirmed, Confirmed::Yes);
    ids.into_iter().collect()
}

fn ids<S>(clients: &[&Client<S>]) -> BTreeSet<SessionId> {
    clients.iter().map(|client| client.id).collect()
}

fn at_most(sessions: u32, on_limit: OnLimit) -> Option<SessionLimit> {
    Some(SessionLimit { sessions, on_limit })
}

async fn sign<S: Store>(client: &Client<S>, sign: AuthChange<'_>) {
    let answer = client.update(Update { sign: Some(sign), ..Update::default() }).await;
    assert_eq!(answer, applied(0));
}

/// A read tells who is signed in, how surely, and since when.
// proves: NIST-5.1-d
pub async fn who_is_signed_in_is_told(subject: &impl Subject) {
    let client = session(subject, &[("a", "1")]).await;
    assert_eq!(client.signed_in().await, None);
    let (ada, bob) = (principal(), principal());
    for (principal, assurance) in
        [(&ada, Assurance::Remembered), (&bob, Assurance::Aal3), (&ada, Assurance::Aal2)]
    {
        let who = NewSignIn { principal, assurance, limit: None };
        sign(&client, AuthChange::In { who, idle: None, absolute: None }).await;
        subject.pass(subject.unit()).await;
        let told = client.through(subject).signed_in().await.expect("somebody is signed in");
        assert_eq!((told.principal, told.assurance), (*principal, assurance));
        assert!(told.ago >= subject.unit() && told.ago < subject.unit() * 4, "{:?}", told.ago);
    }
    client.set("a", "2").await;
    assert_eq!(client.signed_in().await.map(|told| told.principal), Some(ada), "a write signs out");
    sign(&client, AuthChange::Out).await;
    assert_eq!(client.through(subject).signed_in().await, None);
    client.holds(&[("a", "2")]).await;

    let taker = signed_in(subject, &ada).await;
    taker.set("user", "ada").await;
    let credentials = crate::store::Credentials { id: &taker.id, secret: &taker.secret };
    let take = crate::store::TakeField { name: "user", rotate: None, touch: None, sign_out: true };
    let taken = taker.store.take(credentials, take).await.expect("the store answers");
    assert_eq!(taken, Lookup::Found(Some(bytes("ada"))));
    assert_eq!(taker.through(subject).signed_in().await, None);
}

/// Authenticating again begins both deadlines anew; activity moves only the idle one.
// proves: NIST-5.2-b
pub async fn a_sign_in_begins_both_deadlines_anew(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session_for(subject, ttl(unit * 6), ttl(unit * 6), &[]).await;
    let who = principal();
    for _ in 0..2 {
        subject.pass(unit * 4).await;
        let who = NewSignIn { principal: &who, assurance: Assurance::Aal1, limit: None };
        sign(&client, AuthChange::In { who, idle: ttl(unit * 6), absolute: ttl(unit * 6) }).await;
    }
    let Lookup::Found(loaded) = client.load(Projection::Named(&[]), None).await else {
        panic!("the session is gone");
    };
    assert!(loaded.meta.unused < unit * 2, "{:?}", loaded.meta.unused);
    subject.pass(unit * 4).await;
    client.holds(&[]).await;
    let touch = Some(Touch { idle: Ttl::require(unit * 6), after: Duration::ZERO });
    client.load(Projection::All, touch).await;
    subject.pass(unit * 4).await;
    client.is_refused(Refused::NotFound).await;
}

/// Once somebody has signed in, only another sign-in moves the absolute deadline to a later time.
// proves: ASVS-7.3.2
pub async fn no_deadline_goes_beyond_that_of_the_sign_in(subject: &impl Subject) {
    let unit = subject.unit();
    let client = session(subject, &[]).await;
    let principal = principal();
    let who = NewSignIn { principal: &principal, assurance: Assurance::Aal1, limit: None };
    sign(&client, AuthChange::In { who, idle: None, absolute: ttl(unit * 4) }).await;
    let absolute = in_any_case(unit);
    client.update(Update { absolute, ..Update::default() }).await;
    let absolute = in_any_case(unit * 100);
    client.update(Update { absolute, ..Update::default() }).await;
    subject.pass(unit * 2).await;
    client.holds(&[]).await;
    subject.pass(unit * 3).await;
    client.is_refused(Refused::NotFound).await;
    assert!(find(&subject.store(), &principal).await.is_empty());
}

/// A principal's sessions are found, with what is asked for, and nobody else's.
pub async fn sessions_are_found_by_their_principal(subject: &impl Subject) {
    let (ada, bob) = (principal(), principal());
    let first = signed_in(subject, &ada).await;
    let anonymous = session(subject, &[]).await;
    let (second, _) = anonymous.sign_in(&ada, None).await.expect("one can sign in");
    let other = signed_in(subject, &bob).await;
    let values = [bytes("phone"), bytes("secret")];
    let changes = [put("device", &values[0]), put("draft", &values[1])].map(Change::Set);
    second.change(&changes).await;

    let store = subject.store();
    assert_eq!(find(&store, &ada).await, ids(&[&first, &second]));
    assert_eq!(find(&store, &bob).await, ids(&[&other]));
    assert_eq!(find(&store, &principal()).await, BTreeSet::new());
    let page = PageRequest { after: None, limit: 10 };
    let listing =
        store.list_by_principal(&ada, page, Projection::Named(&["device", "absent"])).await;
    for listed in listing.expect("the store answers").sessions {
        let is_second = listed.id == second.id;
        let fields: Vec<_> = listed.loaded.fields.iter().map(|field| &*field.name).collect();
        assert_eq!(fields, if is_second { vec!["device"] } else { vec![] });
        let told = listed.loaded.meta.signed_in.expect("somebody is signed in");
        assert_eq!((told.principal, told.assurance), (ada, Assurance::Aal1));
    }
    let (moved, _) = first.sign_in(&bob, None).await.expect("one can sign in");
    assert_eq!(find(&store, &ada).await, ids(&[&second]));
    assert_eq!(find(&store, &bob).await, ids(&[&other, &moved]));
}

/// Pages come one after the other and leave nothing out.
pub async fn a_list_has_pages(subject: &impl Subject) {
    let ada = principal();
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.push(signed_in(subject, &ada).await.id);
    }
    expected.sort();
    let store = subject.store();
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = PageRequest { after: after.as_ref(), limit: 3 };
        let SessionPage { sessions, next } =
            store.list_by_principal(&ada, page, Projection::All).await.expect("the store answers");
        assert!(sessions.len() <= 3);
        found.extend(sessions.iter().map(|listed| listed.id));
        pages += 1;
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!((found, pages), (expected, 3));
}

/// A session that was ended, has expired or changed hands is not found.
pub async fn what_ended_is_not_found(subject: &impl Subject) {
    let unit = subject.unit();
    let ada = principal();
    let store = subject.store();
    let kept = signed_in(subject, &ada).await;
    let deleted = signed_in(subject, &ada).await;
    deleted.delete().await;
    let idle = signed_in(subject, &ada).await;
    let who = NewSignIn { principal: &ada, assurance: Assurance::Aal1, limit: None };
    sign(&idle, AuthChange::In { who, idle: ttl(unit), absolute: ttl(HOUR) }).await;
    let over = signed_in(subject, &ada).await;
    sign(&over, AuthChange::In { who, idle: None, absolute: ttl(unit) }).await;
    let signed_out = signed_in(subject, &ada).await;
    sign(&signed_out, AuthChange::Out).await;
    subject.pass(unit * 2).await;
    assert_eq!(find(&store, &ada).await, ids(&[&kept]));
    assert_eq!(revoke(&store, &ada, RevokeTarget::All { except: None }).await, ids(&[&kept]));
    signed_out.holds(&[]).await;
    assert_eq!(find(&store, &ada).await, BTreeSet::new());
}

/// A session is ended by its id, if it is that principal's.
// proves: ASVS-7.5.2
pub async fn a_revocation_ends_one_session(subject: &impl Subject) {
    let (ada, bob) = (principal(), principal());
    let (mine, other) = (signed_in(subject, &ada).await, signed_in(subject, &ada).await);
    let theirs = signed_in(subject, &bob).await;
    let anonymous = session(subject, &[]).await;
    let store = subject.store();
    for stranger in [&theirs, &anonymous] {
        assert_eq!(revoke(&store, &ada, RevokeTarget::One(&stranger.id)).await, BTreeSet::new());
        stranger.through(subject).holds(&[]).await;
    }
    assert_eq!(revoke(&store, &ada, RevokeTarget::One(&mine.id)).await, ids(&[&mine]));
    mine.through(subject).is_refused(Refused::NotFound).await;
    assert_eq!(revoke(&store, &ada, RevokeTarget::One(&mine.id)).await, BTreeSet::new());
    other.through(subject).holds(&[]).await;
    assert_eq!(find(&store, &ada).await, ids(&[&other]));
}

/// All of a principal's sessions are ended, or all but one.
// proves: ASVS-7.4.2 ASVS-7.4.3
pub async fn a_revocation_ends_all_sessions_but_one(subject: &impl Subject) {
    let (ada, bob) = (principal(), principal());
    let theirs = signed_in(subject, &bob).await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(signed_in(subject, &ada).await);
    }
    let store = subject.store();
    let own = all.pop().expect("there are five");
    let target = RevokeTarget::All { except: Some(&own.id) };
    assert_eq!(revoke(&store, &ada, target).await, ids(&all.iter().collect::<Vec<_>>()));
    for client in &all {
        client.through(subject).is_refused(Refused::NotFound).await;
    }
    own.through(subject).holds(&[]).await;
    assert_eq!(revoke(&store, &ada, RevokeTarget::All { except: None }).await, ids(&[&own]));
    own.through(subject).is_refused(Refused::NotFound).await;
    theirs.through(subject).holds(&[]).await;
}

/// Signs in with a new session, or with one that is there; `None` if that was not to be.
async fn racing_sign_in<S: Store>(
    client: Client<S>,
    principal: PrincipalKey,
    is_new: bool,
) -> Option<Client<S>> {
    let signed = if is_new {
        client.create_for(&principal, None).await.map(|()| (client, applied(0)))
    } else {
        client.create(None, None, &[]).await.expect("the store answers");
        client.sign_in(&principal, None).await
    };
    match signed {
        Ok((client, answer)) => matches!(answer, Lookup::Found(_)).then_some(client),
        Err(error) => {
            assert_eq!(error.kind(), StoreErrorKind::Revoked);
            None
        }
    }
}

/// Whoever signs in while all sessions are being ended is ended too, or is listed for the next time.
// proves: ASVS-7.4.2
pub async fn a_revocation_ends_sign_ins_that_race_it(subject: &impl Subject) {
    for _ in 0..subject.rounds().min(5) {
        let ada = principal();
        let before = signed_in(subject, &ada).await;
        let store = subject.store();
        let revoker = {
            let store = Arc::clone(&store);
            runner(async move {
                revoke(&store, &ada, RevokeTarget::All { except: None }).await;
                None
            })
        };
        let mut runners = vec![revoker];
        for at in 0..40 {
            let client = stranger(subject).through(subject);
            runners.push(runner(racing_sign_in(client, ada, at % 2 == 0)));
        }
        let signed_in: Vec<_> = race(runners).await.into_iter().flatten().collect();
        before.is_refused(Refused::NotFound).await;

        let listed = find(&store, &ada).await;
        for client in &signed_in {
            let is_live = client.through(subject).signed_in().await.is_some();
            assert_eq!(is_live, listed.contains(&client.id), "live, and not listed");
        }
        let again = revoke(&store, &ada, RevokeTarget::All { except: None }).await;
        assert_eq!(again, listed);
        for client in &signed_in {
            assert_eq!(client.through(subject).signed_in().await, None, "it escaped");
        }
    }
}

/// At the limit, a sign-in changes nothing.
pub async fn a_limit_refuses_another_sign_in(subject: &impl Subject) {
    let ada = principal();
    let limit = at_most(2, OnLimit::Reject);
    let first = stranger(subject);
    first.create_for(&ada, limit).await.expect("there is room");
    let second = stranger(subject);
    second.create_for(&ada, limit).await.expect("there is room");

    let new = stranger(subject);
    let refused = new.create_for(&ada, limit).await.map_err(|error| error.kind());
    assert_eq!(refused, Err(StoreErrorKind::SessionLimit));
    new.is_refused(Refused::NotFound).await;
    let guest = session(subject, &[("cart", "1")]).await;
    let refused = guest.sign_in(&ada, limit).await.map(drop).map_err(|error| error.kind());
    assert_eq!(refused, Err(StoreErrorKind::SessionLimit));
    guest.through(subject).holds(&[("cart", "1")]).await;
    assert_eq!(guest.signed_in().await, None);

    let (first, again) = first.sign_in(&ada, limit).await.expect("its own does not count");
    assert_eq!(again, applied(0));
    first.delete().await;
    let (guest, answer) = guest.sign_in(&ada, limit).await.expect("there is room again");
    assert_eq!(answer, applied(0));
    assert_eq!(find(&subject.store(), &ada).await, ids(&[&second, &guest]));
}

/// Beyond the limit, those that signed in first are ended.
pub async fn a_limit_ends_the_oldest_session(subject: &impl Subject) {
    let ada = principal();
    let limit = at_most(3, OnLimit::EndOldest);
    let mut clients = Vec::new();
    for _ in 0..5 {
        // Moments of signing in can be told apart.
        subject.pass(Duration::from_millis(20)).await;
        let client = stranger(subject);
        client.create_for(&ada, limit).await.expect("there is always room");
        clients.push(client);
    }
    let store = subject.store();
    assert_eq!(find(&store, &ada).await, ids(&clients[2..].iter().collect::<Vec<_>>()));
    for ended in &clients[..2] {
        ended.through(subject).is_refused(Refused::NotFound).await;
    }
    let wrong = clients[4].with(secret());
    let one = at_most(1, OnLimit::EndOldest);
    let (_, answer) = wrong.sign_in(&ada, one).await.expect("the store answers");
    assert_eq!(answer, Lookup::NotFound);
    assert_eq!(find(&store, &ada).await.len(), 3, "one who is refused has ended sessions");
}

/// Who was not let in does not count: somebody whose only cookie is of a session that is over signs in anew.
// proves: ASVS-7.1.2
pub async fn a_refused_sign_in_takes_no_room(subject: &impl Subject) {
    let ada = principal();
    for on_limit in [OnLimit::Reject, OnLimit::EndOldest] {
        let limit = at_most(2, on_limit);
        let first = stranger(subject);
        first.create_for(&ada, limit).await.expect("there is room");
        for _ in 0..2 {
            let over = stranger(subject);
            let (_, answer) = over.sign_in(&ada, limit).await.expect("the store answers");
            assert_eq!(answer, Lookup::NotFound);
        }
        let second = stranger(subject);
        second.create_for(&ada, limit).await.expect("there is room for one more");
        assert_eq!(find(&subject.store(), &ada).await, ids(&[&first, &second]));
        revoke(&subject.store(), &ada, RevokeTarget::All { except: None }).await;
    }
}

/// Of parallel sign-ins of one session, a form that was sent twice, one wins, and the session lives.
// proves: ASVS-7.2.4
pub async fn one_of_parallel_sign_ins_of_a_session_wins(subject: &impl Subject) {
    for round in 0..subject.rounds().min(20) {
        let ada = principal();
        let guest = match round % 2 {
            0 => session(subject, &[]).await,
            _ => signed_in(subject, &ada).await,
        };
        let runners = (0..3).map(|_| {
            let client = guest.through(subject);
            runner(async move {
                let (client, answer) = client.sign_in(&ada, None).await.expect("nobody revokes");
                matches!(answer, Lookup::Found(_)).then_some(client)
            })
        });
        let won: Vec<_> = race(runners.collect()).await.into_iter().flatten().collect();
        let [winner] = &won[..] else { panic!("{} sign-ins of one secret won", won.len()) };
        winner.through(subject).holds(&[]).await;
        assert_eq!(find(&subject.store(), &ada).await, ids(&[winner]));
    }
}

/// No number of sign-ins at once gets beyond the limit.
// proves: ASVS-7.1.2
pub async fn a_limit_holds_for_parallel_sign_ins(subject: &impl Subject) {
    for on_limit in [OnLimit::Reject, OnLimit::EndOldest] {
        let ada = principal();
        let limit = at_most(3, on_limit);
        let sign_in = |_| {
            let client = stranger(subject).through(subject);
            async move { client.create_for(&ada, limit).await.map_err(|error| error.kind()) }
        };
        for answer in race((0..12).map(sign_in).collect()).await {
            let refused =
                matches!(answer, Err(StoreErrorKind::SessionLimit | StoreErrorKind::Revoked));
            assert!(answer.is_ok() || refused, "a sign-in was answered by {answer:?}");
        }
        let found = find(&subject.store(), &ada).await.len();
        assert!((1..=3).contains(&found), "{found} sessions with {on_limit:?}");
    }
}

/// All sessions end at once, and new ones can begin.
// proves: ASVS-7.4.5
pub async fn everybody_is_signed_out_at_once(subject: &impl Subject) {
    let ada = principal();
    let mut clients = vec![signed_in(subject, &ada).await];
    for _ in 0..20 {
        clients.push(session(subject, &[("a", "1")]).await);
    }
    for client in &clients {
        client.fields().await.expect("the session is there");
    }
    let store = subject.store();
    for _ in 0..2 {
        let confirmed = store.revoke_everyone().await.expect("the store answers");
        assert_eq!(confirmed, Confirmed::Yes);
        for client in &clients {
            client.through(subject).is_refused(Refused::Somehow).await;
        }
        assert_eq!(find(&store, &ada).await, BTreeSet::new());
        clients = vec![signed_in(subject, &ada).await, session(subject, &[("a", "2")]).await];
        clients[1].through(subject).holds(&[("a", "2")]).await;
        assert_eq!(find(&store, &ada).await, ids(&[&clients[0]]));
    }
}

/// Who watches a session by its name sees who is signed in, whatever its secret is, and when it is over.
pub async fn who_watches_sees_the_end(subject: &impl Subject) {
    let unit = subject.unit();
    let (ada, store) = (principal(), subject.store());
    let client = signed_in(subject, &ada).await;
    let peek = async |id: &SessionId| store.inspect(id).await.expect("the store answers");
    let owner = async |id: &SessionId| {
        let meta = peek(id).await.expect("the session is there");
        meta.signed_in.map(|signed_in| signed_in.principal)
    };
    let renewed = client.with(secret());
    client.rotate(&renewed.secret).await;
    assert_eq!(owner(&client.id).await, Some(ada));
    sign(&renewed, AuthChange::Out).await;
    assert_eq!(owner(&client.id).await, None);
    renewed.delete().await;
    assert_eq!(peek(&client.id).await, None, "it was deleted");
    let short = session_for(subject, ttl(unit), None, &[]).await;
    assert!(peek(&short.id).await.is_some_and(|meta| meta.idle.is_some()));
    subject.pass(unit * 2).await;
    assert_eq!(peek(&short.id).await, None, "it has expired");
    assert_eq!(peek(&stranger(subject).id).await, None, "it never was");
    let revoked = signed_in(subject, &ada).await;
    store.revoke_everyone().await.expect("the store answers");
    assert_eq!(peek(&revoked.id).await, None, "all were ended");
}
