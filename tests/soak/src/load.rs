//! The load: reads, writes, sign-ins, sign-outs and revocations, each checked against the history.
//! This file knows only the store, and neither servers nor faults.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ruts::{
    Ttl,
    auth::{Assurance, PrincipalKey},
    store::{
        AuthChange, Change, Create, Credentials, FieldWrite, NewSignIn, PageRequest, Precondition,
        Projection, Refused, RevokeTarget, Store, StoreError, Touch, Update, Updated, Written,
    },
    token::{SecretHash, SessionId},
};
use ruts_tests_support::{Random, random};

use crate::{
    history::{COUNTER, History, Outcome, PAIR, PRINCIPALS, Subject, check_list},
    report::Report,
};

/// Idle timeout, longer than a usual run.
const IDLE: Ttl = Ttl::from_secs(24 * 3600);

/// Maximum pause between two operations of an actor, in milliseconds.
const MAX_PAUSE: usize = 50;

/// Number of live sessions that an actor writes to.
const OWN_SESSIONS: usize = 4;

/// The state that all actors of a store share.
pub struct World<S> {
    /// The store under test.
    pub store: Arc<S>,
    /// The history of all sessions.
    pub history: History,
    /// The counts of requests, failures and violations.
    pub report: Report,
    principals: [PrincipalKey; PRINCIPALS],
    stop: AtomicBool,
}

impl<S: Store> World<S> {
    /// Creates a world without sessions.
    pub fn new(name: &'static str, store: Arc<S>) -> Self {
        Self {
            store,
            history: History::default(),
            report: Report::new(name),
            principals: std::array::from_fn(|_| PrincipalKey::from_bytes(random())),
            stop: AtomicBool::new(false),
        }
    }

    /// Makes every actor stop after its current operation.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for the answer to a request. Counts the request, and its failure.
    async fn request<T>(
        &self,
        operation: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Outcome> {
        let begun = Instant::now();
        self.report.request(begun, answer).await.map_err(|error| {
            self.report.note_failure(operation, begun, &error);
            Outcome::of(&error)
        })
    }

    fn who(&self, principal: usize) -> NewSignIn<'_> {
        NewSignIn::new(&self.principals[principal], Assurance::Aal1)
    }

    async fn create(&self, random_numbers: &mut Random) -> Arc<Subject> {
        let (id, secret) = (SessionId::from_bytes(random()), SecretHash::from_bytes(random()));
        let principal = random_numbers.percent(40).then(|| random_numbers.below(PRINCIPALS));
        let subject = self.history.begin(id, secret, principal);
        let who = principal.map(|principal| self.who(principal));
        let create = Create::new(&id, &secret).idle(IDLE).sign_in(who);
        let outcome = match self.request("create", self.store.create(create)).await {
            Ok(written) => Outcome::Done(written.stale_for),
            Err(outcome) => outcome,
        };
        subject.end_creation(outcome);
        subject
    }

    async fn read(&self, subject: &Subject, random_numbers: &mut Random) {
        let before = subject.before();
        let credentials = Credentials::new(&subject.id, &before.secret);
        let names = [PAIR[0], PAIR[1], COUNTER];
        let fields = match random_numbers.percent(50) {
            true => Projection::All,
            false => Projection::Named(&names),
        };
        let touch = random_numbers.percent(20).then(|| Touch::new(IDLE, Duration::ZERO));
        let load = self.store.load(credentials, fields, touch);
        if let Ok(answer) = self.request("read", load).await {
            let violation = subject.check(&before, answer.as_ref(), &self.principals);
            self.report.note_violation(violation);
        }
    }

    /// Reads with a secret that was replaced.
    async fn read_with_former_secret(&self, subject: &Subject) {
        let Some(secret) = subject.former_secret() else { return };
        let credentials = Credentials::new(&subject.id, &secret);
        let load = self.store.load(credentials, Projection::Named(&[]), None);
        if let Ok(Ok(_)) = self.request("read", load).await {
            self.report.note_violation(Some("a replaced secret opens its session".to_owned()));
        }
    }

    async fn inspect(&self, subject: &Subject) {
        let before = subject.before();
        if let Ok(meta) = self.request("inspect", self.store.inspect(&subject.id)).await {
            self.report.note_violation(subject.check_meta(&before, meta.as_ref()));
        }
    }

    /// Applies an update, and returns its outcome.
    async fn update(&self, name: &'static str, subject: &Subject, update: Update<'_>) -> Outcome {
        let before = subject.before();
        let credentials = Credentials::new(&subject.id, &before.secret);
        let answer = self.request(name, self.store.update(credentials, update)).await;
        match answer {
            Err(outcome) => outcome,
            Ok(Ok(Written { answer: Updated::Applied { .. }, stale_for, .. })) => {
                self.report.note_violation(subject.check_opened(&before));
                Outcome::Done(stale_for)
            }
            Ok(Ok(_)) => Outcome::NotDone,
            Ok(Err(refused)) => {
                self.report.note_violation(subject.check_refused(&before, &refused));
                Outcome::NotDone
            }
        }
    }

    async fn write(&self, subject: &Subject) {
        let (number, value) = subject.begin_pair();
        let changes = PAIR.map(|name| Change::Set(FieldWrite::new(name, &value)));
        let outcome = self.update("write", subject, Update::new(&changes)).await;
        subject.end_pair(number, outcome);
    }

    async fn count(&self, subject: &Subject) {
        let before = subject.before();
        let credentials = Credentials::new(&subject.id, &before.secret);
        let load = self.store.load(credentials, Projection::Named(&[COUNTER]), None);
        let Ok(Ok(loaded)) = self.request("read", load).await else { return };
        let old = loaded.fields.first().map(|field| field.value.clone());
        let number = match old.as_deref().map_or(Ok(0), |old| subject.number(old)) {
            Ok(number) => number,
            Err(violation) => return self.report.note_violation(Some(violation)),
        };
        let new = subject.value(number + 1);
        let changes = [Change::Set(FieldWrite::new(COUNTER, &new))];
        subject.begin_count();
        let precondition = Precondition::new(COUNTER, old.as_ref());
        let update = Update::new(&changes).precondition(precondition);
        subject.end_count(self.update("count", subject, update).await);
    }

    /// Replaces the secret, and signs in if a principal is given. Returns whether the outcome is
    /// known.
    async fn rotate(&self, subject: &Arc<Subject>, principal: Option<usize>) -> bool {
        let secret = SecretHash::from_bytes(random());
        if let Some(principal) = principal {
            self.history.begin_sign_in(subject, principal);
        }
        let sign = principal.map(|principal| AuthChange::In {
            who: self.who(principal),
            idle: Some(IDLE),
            absolute: None,
        });
        let name = if principal.is_some() { "sign-in" } else { "rotation" };
        let update = Update::new(&[]).rotate(&secret).auth_change(sign);
        // `before` must not include this rotation, so it comes before `begin_rotation`.
        let before = subject.before();
        subject.begin_rotation();
        let credentials = Credentials::new(&subject.id, &before.secret);
        let outcome = match self.request(name, self.store.update(credentials, update)).await {
            Err(outcome) => outcome,
            Ok(Ok(written)) => {
                self.report.note_violation(subject.check_opened(&before));
                Outcome::Done(written.stale_for)
            }
            Ok(Err(_)) => Outcome::NotDone,
        };
        subject.end_rotation(secret, outcome);
        if outcome == Outcome::NotDone && principal.is_some() {
            subject.forget_sign_in();
        }
        !matches!(outcome, Outcome::Unknown | Outcome::Revoked)
    }

    async fn delete(&self, subject: &Subject) {
        let before = subject.before();
        subject.begin_ending();
        let credentials = Credentials::new(&subject.id, &before.secret);
        let outcome = match self.request("delete", self.store.delete(credentials)).await {
            Err(outcome) => outcome,
            Ok(Ok(written)) => {
                self.report.note_violation(subject.check_opened(&before));
                Outcome::Done(written.stale_for)
            }
            // The session had already ended.
            Ok(Err(Refused::NotFound | Refused::Deleted { .. } | Refused::Revoked)) => {
                Outcome::Unknown
            }
            Ok(Err(_)) => Outcome::NotDone,
        };
        subject.end_ending("a deletion", outcome);
    }

    async fn revoke(&self, principal: usize, except: Option<&SessionId>) {
        let revocation = self.history.begin_revocation(Some(principal), except);
        let target = RevokeTarget::All { except };
        let revoke = self.store.revoke(&self.principals[principal], target);
        let outcome = match self.request("revoke", revoke).await {
            Ok(written) => Outcome::Done(written.stale_for),
            Err(outcome) => outcome,
        };
        self.history.end_revocation(revocation, outcome);
    }

    async fn revoke_everyone(&self) {
        let revocation = self.history.begin_revocation(None, None);
        let outcome = match self.request("revoke", self.store.revoke_everyone()).await {
            Ok(written) => Outcome::Done(written.stale_for),
            Err(outcome) => outcome,
        };
        self.history.end_revocation(revocation, outcome);
    }

    async fn list(&self, principal: usize) {
        let before = self.history.before_list(principal);
        let (page, fields) = (PageRequest::new(None, 1000), Projection::Named(&PAIR));
        let list = self.store.list_by_principal(&self.principals[principal], page, fields);
        if let Ok(page) = self.request("list", list).await {
            self.report.note_violation(check_list(&before, &page));
        }
    }
}

/// Uses the store until the world stops.
pub async fn act<S: Store>(world: Arc<World<S>>, mut random_numbers: Random) {
    let random = &mut random_numbers;
    let mut own: Vec<Arc<Subject>> = Vec::new();
    while !world.stop.load(Ordering::Relaxed) {
        own.retain(|subject| subject.is_live());
        if own.len() < OWN_SESSIONS {
            let subject = world.create(random).await;
            if subject.is_live() {
                own.push(subject);
            }
        }
        let (action, place) = (random.below(100), random.below(OWN_SESSIONS));
        let any = world.history.session(random.below(10_000));
        match (any, own.get(place).cloned()) {
            (Some(any), _) if action < 50 => world.read(&any, random).await,
            (Some(any), _) if action < 54 => world.inspect(&any).await,
            (Some(any), _) if action < 58 => world.read_with_former_secret(&any).await,
            (Some(any), _) if action < 68 => world.count(&any).await,
            (_, Some(own)) if action < 85 => world.write(&own).await,
            (_, Some(subject)) if action < 91 => {
                let signs_in = subject.is_guest() && random.percent(70);
                let principal = signs_in.then(|| random.below(PRINCIPALS));
                if !world.rotate(&subject, principal).await {
                    own.retain(|other| !Arc::ptr_eq(other, &subject));
                }
            }
            (_, Some(own)) if action < 94 => world.delete(&own).await,
            (_, own) if action < 96 => {
                let except = own.filter(|_| random.percent(50)).map(|own| own.id);
                world.revoke(random.below(PRINCIPALS), except.as_ref()).await;
            }
            (..) if action == 96 && random.percent(10) => world.revoke_everyone().await,
            _ => world.list(random.below(PRINCIPALS)).await,
        }
        let pause = Duration::from_millis(random.below(MAX_PAUSE) as u64);
        tokio::time::sleep(pause).await;
    }
}
