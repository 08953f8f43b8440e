//! The history of every session, and the check of each answer against it: [`History`].
//!
//! This file knows the promises of a store, but neither servers nor faults. An operation is
//! recorded before it begins and again after its answer. So a read is checked only against writes
//! that were certain when the read began.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use ruts::{
    auth::PrincipalKey,
    store::{Loaded, Refused, SessionMeta, SessionPage, StoreError, StoreErrorKind},
    token::{SecretHash, SessionId},
};

/// Number of principals.
pub const PRINCIPALS: usize = 4;

/// Two fields that every write sets to the same number.
pub const PAIR: [&str; 2] = ["a", "b"];

/// A counter that is incremented by compare-and-set only.
pub const COUNTER: &str = "c";

/// Maximum number of sessions. Above it, a new session replaces the oldest session that is not
/// live.
const MAX_SESSIONS: usize = 400;

/// Maximum time after which a request of unknown outcome takes effect. It is longer than the
/// longest fault.
const LATE: Duration = Duration::from_secs(10);

/// The outcome of an operation, as far as its answer shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out. A cache may show the former state for this time.
    Done(Option<Duration>),
    /// It was not carried out, and never will be.
    NotDone,
    /// It may have been carried out, or may still be carried out later.
    Unknown,
    /// It was a sign-in, and the store has ended the session, because a revocation may have come in
    /// between.
    Revoked,
}

impl Outcome {
    /// Returns the outcome of an operation that failed.
    pub fn of(error: &StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::OutcomeUnknown => Self::Unknown,
            StoreErrorKind::Revoked => Self::Revoked,
            _ => Self::NotDone,
        }
    }
}

/// An answer that breaks a promise.
pub type Violation = String;

/// Whether a session is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Its creation is in progress.
    New,
    Live,
    /// An operation of unknown outcome has created or ended it. It never counts as live again.
    Uncertain,
    /// It has ended. The answer that showed this arrived at the time `at`.
    Ended {
        by: &'static str,
        at: Instant,
    },
}

impl Life {
    fn ended(by: &'static str) -> Self {
        Self::Ended { by, at: Instant::now() }
    }
}

/// All sessions.
#[derive(Default)]
pub struct History {
    last_number: AtomicU64,
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    sessions: VecDeque<Arc<Subject>>,
    /// Number of revocations in progress, by principal.
    revoking: [usize; PRINCIPALS],
    /// Number of revocations of everyone in progress.
    revoking_everyone: usize,
    /// Until this time, a revocation of unknown outcome may take effect, by principal.
    revoking_until: [Option<Instant>; PRINCIPALS],
    /// Until this time, a revocation of everyone with an unknown outcome may take effect.
    revoking_everyone_until: Option<Instant>,
}

/// A session and its history.
pub struct Subject {
    number: u64,
    /// Id of the session.
    pub id: SessionId,
    state: Mutex<State>,
}

struct State {
    life: Life,
    /// Whether its creation was confirmed.
    is_created: bool,
    endings_begun: usize,
    endings_in_progress: usize,
    secret: SecretHash,
    former: Option<SecretHash>,
    rotations_begun: usize,
    /// Whether a rotation is in progress, or the outcome of one is unknown.
    is_rotating: bool,
    /// The principal whose sign-in has begun.
    principal: Option<usize>,
    sign_ins_begun: usize,
    is_signed_in: bool,
    pair: Pair,
    counter: Counter,
    /// Until this time, a cache may show the state before an operation that was carried out.
    stale_until: Option<Instant>,
}

/// Writes of increasing numbers by one writer.
#[derive(Debug, Clone, Default)]
struct Pair {
    /// The greatest number that was confirmed or read.
    certain: u64,
    begun: u64,
    not_done: BTreeSet<u64>,
    /// Writes of unknown outcome. Each may take effect at any later time.
    unknown: BTreeSet<u64>,
}

/// Increments by many writers.
#[derive(Debug, Clone, Copy, Default)]
struct Counter {
    done: u64,
    unknown: u64,
    in_progress: u64,
}

/// The certain part of a history before an operation.
pub struct Before {
    life: Life,
    is_created: bool,
    endings_begun: usize,
    endings_in_progress: usize,
    /// The secret to present.
    pub secret: SecretHash,
    rotations_begun: usize,
    is_rotating: bool,
    is_signed_in: bool,
    certain: u64,
    counted: u64,
    is_stale: bool,
}

/// A revocation in progress.
pub struct Revocation {
    principal: Option<usize>,
    /// Sessions that must have ended when the revocation succeeds, each with the number of its
    /// sign-ins so far.
    certain: Vec<(Arc<Subject>, usize)>,
    /// Sessions that it may end.
    possible: Vec<Arc<Subject>>,
}

impl History {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the creation of a session begins, perhaps with a sign-in.
    pub fn begin(
        &self,
        id: SessionId,
        secret: SecretHash,
        principal: Option<usize>,
    ) -> Arc<Subject> {
        let state = State {
            life: Life::New,
            is_created: false,
            endings_begun: 0,
            endings_in_progress: 0,
            secret,
            former: None,
            rotations_begun: 0,
            is_rotating: false,
            principal,
            sign_ins_begun: 0,
            is_signed_in: false,
            pair: Pair::default(),
            counter: Counter::default(),
            stale_until: None,
        };
        let number = self.last_number.fetch_add(1, Ordering::Relaxed);
        let subject = Arc::new(Subject { number, id, state: Mutex::new(state) });
        let mut registry = self.registry();
        registry.note_overlap(&subject, principal);
        registry.sessions.push_back(Arc::clone(&subject));
        if registry.sessions.len() > MAX_SESSIONS {
            // A live session stays, even while an operation may end it, because the operation may
            // fail.
            let over = registry.sessions.iter().position(|subject| subject.is_over());
            over.map(|place| registry.sessions.remove(place));
        }
        subject
    }

    /// Returns the session at `place` modulo the number of sessions.
    pub fn session(&self, place: usize) -> Option<Arc<Subject>> {
        let registry = self.registry();
        let place = place.checked_rem(registry.sessions.len())?;
        registry.sessions.get(place).cloned()
    }

    /// Records that a sign-in to a session begins.
    pub fn begin_sign_in(&self, subject: &Arc<Subject>, principal: usize) {
        let registry = self.registry();
        let mut state = subject.state();
        state.principal = Some(principal);
        state.sign_ins_begun += 1;
        drop(state);
        registry.note_overlap(subject, Some(principal));
    }

    /// Records that a revocation of a principal or of everyone begins. The session `except` stays.
    pub fn begin_revocation(
        &self,
        principal: Option<usize>,
        except: Option<&SessionId>,
    ) -> Revocation {
        let mut registry = self.registry();
        match principal {
            Some(principal) => registry.revoking[principal] += 1,
            None => registry.revoking_everyone += 1,
        }
        let mut revocation = Revocation { principal, certain: Vec::new(), possible: Vec::new() };
        for subject in registry.sessions.iter().filter(|subject| Some(&subject.id) != except) {
            let mut state = subject.state();
            if principal.is_some() && state.principal != principal {
                continue;
            }
            state.endings_begun += 1;
            state.endings_in_progress += 1;
            // A sign-in in progress may take place after the revocation.
            let is_certain = state.life == Life::Live
                && !state.is_rotating
                && (principal.is_none() || state.is_signed_in);
            let subject = Arc::clone(subject);
            if is_certain {
                revocation.certain.push((subject, state.sign_ins_begun));
            } else {
                revocation.possible.push(subject);
            }
        }
        revocation
    }

    /// Records the end of a revocation.
    pub fn end_revocation(&self, revocation: Revocation, outcome: Outcome) {
        let Revocation { principal, certain, possible } = revocation;
        let mut registry = self.registry();
        let registry = &mut *registry;
        let (count, until) = match principal {
            Some(index) => (&mut registry.revoking[index], &mut registry.revoking_until[index]),
            None => (&mut registry.revoking_everyone, &mut registry.revoking_everyone_until),
        };
        *count -= 1;
        if outcome == Outcome::Unknown {
            *until = Some(Instant::now() + LATE);
        }
        for (subject, sign_ins_begun) in &certain {
            let has_signed_in = subject.state().sign_ins_begun != *sign_ins_begun;
            let by = if principal.is_some() { "a revocation" } else { "a revocation of everyone" };
            let outcome = match outcome {
                Outcome::Done(_) if !has_signed_in => outcome,
                // After an error some sessions may have ended.
                _ => Outcome::Unknown,
            };
            subject.end_ending(by, outcome);
        }
        for subject in &possible {
            subject.end_ending("a revocation", Outcome::Unknown);
        }
    }

    /// Returns the sessions of a principal, each with what is certain about it. `check_list` needs
    /// them.
    pub fn before_list(&self, principal: usize) -> Vec<(Arc<Subject>, Before)> {
        let registry = self.registry();
        let of_principal = registry.sessions.iter().filter(|subject| {
            let state = subject.state();
            state.principal == Some(principal)
        });
        of_principal.map(|subject| (Arc::clone(subject), subject.before())).collect()
    }
}

/// Checks the list of a principal.
pub fn check_list(before: &[(Arc<Subject>, Before)], page: &SessionPage) -> Option<Violation> {
    before.iter().find_map(|(subject, before)| {
        let listed = page.sessions.iter().find(|listed| listed.id == subject.id);
        let state = subject.state();
        match listed {
            Some(_) if let Some(ended) = before.ended() => {
                Some(format!("session {} {ended}, but is listed", subject.number))
            }
            None if before.is_signed_in
                && state.is_certainly_live(before)
                && page.next.is_none() =>
            {
                Some(format!("session {} is live, but not listed", subject.number))
            }
            _ => None,
        }
    })
}

impl Registry {
    /// Makes a session uncertain if its sign-in overlaps with a revocation, which may end it.
    fn note_overlap(&self, subject: &Subject, principal: Option<usize>) {
        let now = Instant::now();
        let may_come = |count: usize, until: Option<Instant>| {
            count > 0 || until.is_some_and(|until| now < until)
        };
        let of_principal = principal.is_some_and(|principal| {
            may_come(self.revoking[principal], self.revoking_until[principal])
        });
        if of_principal || may_come(self.revoking_everyone, self.revoking_everyone_until) {
            let mut state = subject.state();
            state.endings_begun += 1;
            state.life = Life::Uncertain;
        }
    }
}

impl Before {
    /// Returns how and when the session ended, unless a cache may still show it as live.
    fn ended(&self) -> Option<String> {
        match self.life {
            Life::Ended { by, at } if !self.is_stale => {
                Some(format!("was ended by {by} {} ms ago", at.elapsed().as_millis()))
            }
            _ => None,
        }
    }
}

impl State {
    /// Returns whether the session was live when an operation began, and no operation has begun to
    /// end it since.
    fn is_certainly_live(&self, before: &Before) -> bool {
        before.life == Life::Live
            && before.endings_in_progress == 0
            && before.endings_begun == self.endings_begun
    }

    fn has_same_secret(&self, before: &Before) -> bool {
        !before.is_rotating && before.rotations_begun == self.rotations_begun
    }

    fn note_stale(&mut self, stale_for: Option<Duration>) {
        let until = stale_for.map(|stale_for| Instant::now() + stale_for);
        self.stale_until = self.stale_until.max(until);
    }
}

impl Subject {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the session is certainly live.
    pub fn is_live(&self) -> bool {
        let state = self.state();
        state.life == Life::Live && state.endings_in_progress == 0
    }

    /// Returns whether no later operation can make the session certainly live.
    fn is_over(&self) -> bool {
        matches!(self.state().life, Life::Uncertain | Life::Ended { .. })
    }

    /// Returns whether this is a guest's session whose secret is known.
    pub fn is_guest(&self) -> bool {
        let state = self.state();
        state.principal.is_none() && !state.is_rotating
    }

    /// Returns what is certain before an operation begins.
    pub fn before(&self) -> Before {
        let state = self.state();
        Before {
            life: state.life,
            is_created: state.is_created,
            endings_begun: state.endings_begun,
            endings_in_progress: state.endings_in_progress,
            secret: state.secret,
            rotations_begun: state.rotations_begun,
            is_rotating: state.is_rotating,
            is_signed_in: state.is_signed_in,
            certain: state.pair.certain,
            counted: state.counter.done,
            is_stale: state.stale_until.is_some_and(|until| Instant::now() < until),
        }
    }

    /// Returns a secret that was certainly replaced.
    pub fn former_secret(&self) -> Option<SecretHash> {
        let state = self.state();
        state.former.filter(|_| state.stale_until.is_none())
    }

    /// Records the end of the creation.
    pub fn end_creation(&self, outcome: Outcome) {
        let mut state = self.state();
        state.life = match outcome {
            Outcome::Done(_) if state.endings_begun == 0 => Life::Live,
            Outcome::NotDone => Life::ended("a creation that failed"),
            _ => Life::Uncertain,
        };
        state.is_created = matches!(outcome, Outcome::Done(_));
        state.is_signed_in = state.is_created && state.principal.is_some();
    }

    /// Records that the secret is about to be replaced.
    pub fn begin_rotation(&self) {
        let mut state = self.state();
        state.rotations_begun += 1;
        state.is_rotating = true;
    }

    /// Records the end of a rotation, perhaps with a sign-in.
    pub fn end_rotation(&self, to: SecretHash, outcome: Outcome) {
        let mut state = self.state();
        state.is_rotating = matches!(outcome, Outcome::Unknown | Outcome::Revoked);
        if outcome == Outcome::Revoked {
            state.endings_begun += 1;
            state.life = Life::Uncertain;
        }
        if let Outcome::Done(stale_for) = outcome {
            state.former = Some(std::mem::replace(&mut state.secret, to));
            state.is_signed_in = state.principal.is_some();
            state.note_stale(stale_for);
        }
    }

    /// Records that a sign-in was refused.
    pub fn forget_sign_in(&self) {
        self.state().principal = None;
    }

    /// Records that a deletion begins.
    pub fn begin_ending(&self) {
        let mut state = self.state();
        state.endings_begun += 1;
        state.endings_in_progress += 1;
    }

    /// Records the end of a deletion or revocation.
    pub fn end_ending(&self, by: &'static str, outcome: Outcome) {
        let mut state = self.state();
        state.endings_in_progress -= 1;
        match outcome {
            Outcome::Done(stale_for) => {
                state.life = Life::ended(by);
                state.note_stale(stale_for);
            }
            Outcome::Unknown if state.life == Life::Live => state.life = Life::Uncertain,
            Outcome::Unknown | Outcome::Revoked | Outcome::NotDone => {}
        }
    }

    /// Records that a write of the pair begins, and returns its value.
    pub fn begin_pair(&self) -> (u64, Bytes) {
        let mut state = self.state();
        state.pair.begun += 1;
        (state.pair.begun, self.value(state.pair.begun))
    }

    /// Records the end of a write of the pair.
    pub fn end_pair(&self, number: u64, outcome: Outcome) {
        let mut state = self.state();
        let Pair { certain, not_done, unknown, .. } = &mut state.pair;
        match outcome {
            Outcome::Done(stale_for) => {
                *certain = (*certain).max(number);
                state.note_stale(stale_for);
            }
            Outcome::NotDone => drop(not_done.insert(number)),
            Outcome::Unknown | Outcome::Revoked => drop(unknown.insert(number)),
        }
    }

    /// Records that an increment begins.
    pub fn begin_count(&self) {
        self.state().counter.in_progress += 1;
    }

    /// Records the end of an increment.
    pub fn end_count(&self, outcome: Outcome) {
        let mut state = self.state();
        state.counter.in_progress -= 1;
        match outcome {
            Outcome::Done(stale_for) => {
                state.counter.done += 1;
                state.note_stale(stale_for);
            }
            Outcome::Unknown | Outcome::Revoked => state.counter.unknown += 1,
            Outcome::NotDone => {}
        }
    }

    /// Returns a value that contains the number of its session and this number.
    pub fn value(&self, number: u64) -> Bytes {
        format!("{}:{number}", self.number).into()
    }

    /// Returns the number of a value, or an error if the value belongs to another session.
    pub fn number(&self, value: &[u8]) -> Result<u64, Violation> {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let number = text.split_once(':').filter(|(owner, _)| owner.parse() == Ok(self.number));
        number
            .and_then(|(_, number)| number.parse().ok())
            .ok_or_else(|| format!("session {} holds the value {text:?}", self.number))
    }

    /// Checks the metadata that `inspect` returned.
    pub fn check_meta(&self, before: &Before, meta: Option<&SessionMeta>) -> Option<Violation> {
        let state = self.state();
        match meta {
            Some(_) if let Some(ended) = before.ended() => {
                Some(format!("session {} {ended}, but `inspect` finds it", self.number))
            }
            None if state.is_certainly_live(before) => {
                Some(format!("session {} is live, but `inspect` does not find it", self.number))
            }
            _ => None,
        }
    }

    /// Checks the answer to the current secret.
    pub fn check(
        &self,
        before: &Before,
        answer: Result<&Loaded, &Refused>,
        principals: &[PrincipalKey; PRINCIPALS],
    ) -> Option<Violation> {
        match answer {
            Ok(loaded) => self
                .check_opened(before)
                .or_else(|| self.check_principal(before, loaded, principals))
                .or_else(|| self.check_fields(before, loaded).err()),
            Err(refused) => self.check_refused(before, refused),
        }
    }

    /// Checks that the session may accept the current secret.
    pub fn check_opened(&self, before: &Before) -> Option<Violation> {
        before
            .ended()
            .map(|ended| format!("session {} {ended}, but its secret opens it", self.number))
    }

    /// Checks that the current secret may be refused.
    pub fn check_refused(&self, before: &Before, refused: &Refused) -> Option<Violation> {
        let mut state = self.state();
        if !state.has_same_secret(before) {
            return None;
        }
        if state.is_certainly_live(before) && !before.is_stale {
            return Some(format!("session {} is live, but answers {refused:?}", self.number));
        }
        // Only a refusal of a read that began after the creation shows that the session has ended.
        if before.is_created && !matches!(refused, Refused::Replaced { .. }) {
            state.life = Life::ended(match refused {
                Refused::NotFound => "an answer that it is not found",
                Refused::Deleted { .. } => "an answer that it was deleted",
                _ => "an answer that it was revoked",
            });
        }
        None
    }

    fn check_principal(
        &self,
        before: &Before,
        loaded: &Loaded,
        principals: &[PrincipalKey; PRINCIPALS],
    ) -> Option<Violation> {
        let expected = self.state().principal.map(|principal| principals[principal]);
        let found = loaded.meta.signed_in.map(|signed_in| signed_in.principal);
        let is_right = if before.is_signed_in && !before.is_stale {
            found == expected
        } else {
            found.is_none() || found == expected
        };
        (!is_right).then(|| format!("session {} has a different principal", self.number))
    }

    fn check_fields(&self, before: &Before, loaded: &Loaded) -> Result<(), Violation> {
        let number = |name: &str| {
            let field = loaded.fields.iter().find(|field| &*field.name == name);
            field.map_or(Ok(0), |field| self.number(&field.value))
        };
        let [first, second] = PAIR.map(number);
        let (first, second, counter) = (first?, second?, number(COUNTER)?);
        let mut state = self.state();
        if before.is_stale {
            return Ok(());
        }
        if first != second {
            return Err(format!("session {} holds {first} and {second}", self.number));
        }
        let Pair { certain, begun, not_done, unknown } = &mut state.pair;
        let is_later = first > before.certain && first <= *begun && !not_done.contains(&first);
        if first != before.certain && !is_later && !unknown.contains(&first) {
            let (number, certain) = (self.number, before.certain);
            let was = if not_done.contains(&first) { " whose write was refused" } else { "" };
            return Err(format!("session {number} holds {first}{was}, after {certain}"));
        }
        *certain = (*certain).max(first);
        let Counter { done, unknown, in_progress } = state.counter;
        if counter < before.counted || counter > done + unknown + in_progress {
            return Err(format!(
                "session {} counts {counter}: {} increments were confirmed, and {unknown} are \
                 unknown",
                self.number, before.counted
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ruts::{
        auth::Assurance,
        store::{ListedSession, SignedIn, StoredField},
    };
    use ruts_tests_support::random;

    use super::*;

    const DONE: Outcome = Outcome::Done(None);

    fn live(history: &History, principal: Option<usize>) -> Arc<Subject> {
        let (id, secret) = (SessionId::from_bytes(random()), SecretHash::from_bytes(random()));
        let subject = history.begin(id, secret, principal);
        subject.end_creation(DONE);
        subject
    }

    fn principals() -> [PrincipalKey; PRINCIPALS] {
        std::array::from_fn(|index| PrincipalKey::from_bytes([index as u8; 32]))
    }

    /// Returns the answer of a read that found these numbers.
    fn found(subject: &Subject, [first, second, counter]: [u64; 3]) -> Loaded {
        let fields = [(PAIR[0], first), (PAIR[1], second), (COUNTER, counter)];
        let fields = fields.into_iter().filter(|(_, number)| *number > 0);
        let fields = fields.map(|(name, number)| StoredField::new(name, subject.value(number)));
        Loaded::new(SessionMeta::default(), fields.collect())
    }

    fn is_right(subject: &Subject, before: &Before, numbers: [u64; 3]) -> bool {
        let loaded = found(subject, numbers);
        subject.check(before, Ok(&loaded), &principals()).is_none()
    }

    fn write(subject: &Subject, outcome: Outcome) -> u64 {
        let (number, _) = subject.begin_pair();
        subject.end_pair(number, outcome);
        number
    }

    #[test]
    fn a_confirmed_write_is_there_or_overwritten_by_a_later_one() {
        let subject = live(&History::default(), None);
        write(&subject, DONE);
        write(&subject, DONE);
        let before = subject.before();
        assert!(!is_right(&subject, &before, [0, 0, 0]));
        assert!(!is_right(&subject, &before, [1, 1, 0]));
        assert!(
            !is_right(&subject, &before, [3, 3, 0]),
            "a number that no write has set should be a violation"
        );
        assert!(!is_right(&subject, &before, [2, 1, 0]), "half of a write should be a violation");
        assert!(is_right(&subject, &before, [2, 2, 0]));
        let (number, _) = subject.begin_pair();
        assert!(
            is_right(&subject, &before, [number, number, 0]),
            "the number of a write in progress should be allowed"
        );
        assert!(
            !is_right(&subject, &subject.before(), [2, 2, 0]),
            "a number should be a violation after a later one was read"
        );
    }

    #[test]
    fn a_refused_write_is_never_there_and_an_unknown_one_may_be() {
        let subject = live(&History::default(), None);
        let refused = write(&subject, Outcome::NotDone);
        let unknown = write(&subject, Outcome::Unknown);
        write(&subject, DONE);
        let before = subject.before();
        assert!(!is_right(&subject, &before, [refused, refused, 0]));
        assert!(is_right(&subject, &before, [unknown, unknown, 0]));
    }

    #[test]
    fn a_counter_counts_each_confirmed_increment_once() {
        let subject = live(&History::default(), None);
        for outcome in [DONE, DONE, Outcome::Unknown, Outcome::NotDone] {
            subject.begin_count();
            subject.end_count(outcome);
        }
        let before = subject.before();
        let right = [1, 2, 3, 4].map(|count| is_right(&subject, &before, [0, 0, count]));
        assert_eq!(right, [false, true, true, false]);
    }

    #[test]
    fn a_value_of_another_session_is_found() {
        let history = History::default();
        let (subject, other) = (live(&history, None), live(&history, None));
        let before = subject.before();
        let loaded = found(&other, [1, 1, 0]);
        assert!(subject.check(&before, Ok(&loaded), &principals()).is_some());
    }

    #[test]
    fn a_session_that_has_ended_does_not_open_and_a_live_one_does() {
        let subject = live(&History::default(), None);
        let before = subject.before();
        assert!(subject.check_refused(&before, &Refused::NotFound).is_some());
        assert!(subject.check_meta(&before, None).is_some());
        subject.begin_ending();
        assert!(subject.check_refused(&before, &Refused::NotFound).is_none());
        subject.end_ending("a deletion", DONE);
        assert!(
            subject.check_opened(&before).is_none(),
            "a read that began before the deletion should be allowed to find the session"
        );
        assert!(subject.check_opened(&subject.before()).is_some());
        assert!(subject.check_meta(&subject.before(), Some(&SessionMeta::default())).is_some());
    }

    #[test]
    fn an_end_that_was_seen_is_final() {
        let subject = live(&History::default(), None);
        subject.begin_ending();
        subject.end_ending("a deletion", Outcome::Unknown);
        let before = subject.before();
        assert!(subject.check_opened(&before).is_none());
        assert!(subject.check_refused(&before, &Refused::NotFound).is_none());
        assert!(subject.check_opened(&subject.before()).is_some());
    }

    #[test]
    fn a_read_before_the_creation_shows_no_end() {
        let history = History::default();
        let (id, secret) = (SessionId::from_bytes(random()), SecretHash::from_bytes(random()));
        let subject = history.begin(id, secret, None);
        let before = subject.before();
        subject.end_creation(DONE);
        assert!(subject.check_refused(&before, &Refused::NotFound).is_none());
        assert!(subject.check_opened(&subject.before()).is_none());
    }

    #[test]
    fn a_revocation_ends_those_that_had_signed_in_before() {
        let history = History::default();
        let (signed_in, guest) = (live(&history, Some(1)), live(&history, None));
        let revocation = history.begin_revocation(Some(1), None);
        let during = live(&history, Some(1));
        history.end_revocation(revocation, DONE);
        assert!(signed_in.check_opened(&signed_in.before()).is_some());
        assert!(guest.is_live());
        assert!(during.check_opened(&during.before()).is_none());
        assert!(during.check_refused(&during.before(), &Refused::NotFound).is_none());
        let failed = live(&history, Some(1));
        let revocation = history.begin_revocation(Some(1), None);
        history.end_revocation(revocation, Outcome::NotDone);
        assert!(failed.check_opened(&failed.before()).is_none());
    }

    #[test]
    fn a_revocation_of_unknown_outcome_may_end_later_sessions() {
        for principal in [Some(1), None] {
            for (outcome, may_end) in [(Outcome::Unknown, true), (Outcome::NotDone, false)] {
                let history = History::default();
                let revocation = history.begin_revocation(principal, None);
                history.end_revocation(revocation, outcome);
                let later = live(&history, Some(1));
                let refused = later.check_refused(&later.before(), &Refused::Revoked);
                assert_eq!(refused.is_none(), may_end, "{principal:?} {outcome:?}");
            }
        }
    }

    #[test]
    fn a_session_stays_known_while_it_is_created_or_a_deletion_may_fail() {
        let history = History::default();
        let (id, secret) = (SessionId::from_bytes(random()), SecretHash::from_bytes(random()));
        let created = history.begin(id, secret, None);
        let kept = live(&history, None);
        kept.begin_ending();
        for _ in 0..MAX_SESSIONS {
            live(&history, None).end_creation(Outcome::NotDone);
        }
        created.end_creation(DONE);
        kept.end_ending("a deletion", Outcome::NotDone);
        let revocation = history.begin_revocation(None, None);
        history.end_revocation(revocation, DONE);
        for session in [created, kept] {
            assert!(session.check_refused(&session.before(), &Refused::Revoked).is_none());
        }
    }

    #[test]
    fn a_list_holds_live_sessions_and_no_others() {
        let history = History::default();
        let (stays, ends) = (live(&history, Some(1)), live(&history, Some(1)));
        ends.begin_ending();
        ends.end_ending("a deletion", DONE);
        let listed = |subject: &Subject| {
            ListedSession::new(subject.id, Loaded::new(SessionMeta::default(), Vec::new()))
        };
        let before = history.before_list(1);
        let check = |sessions| check_list(&before, &SessionPage::new(sessions, None));
        assert!(check(vec![listed(&stays)]).is_none());
        assert!(check(vec![]).is_some());
        assert!(check(vec![listed(&stays), listed(&ends)]).is_some());
    }

    #[test]
    fn a_session_has_its_own_principal() {
        let subject = live(&History::default(), Some(1));
        let before = subject.before();
        let with = |principal: usize| {
            let signed_in = SignedIn::new(principals()[principal], Assurance::Aal1, Duration::ZERO);
            let mut loaded = found(&subject, [0; 3]);
            loaded.meta.signed_in = Some(signed_in);
            loaded
        };
        assert!(subject.check(&before, Ok(&with(1)), &principals()).is_none());
        assert!(subject.check(&before, Ok(&with(2)), &principals()).is_some());
        assert!(
            !is_right(&subject, &before, [0; 3]),
            "an answer without a principal should be a violation, because the session is signed in"
        );
    }

    #[test]
    fn nothing_is_judged_while_a_cache_may_be_stale() {
        let subject = live(&History::default(), None);
        write(&subject, Outcome::Done(Some(Duration::from_secs(60))));
        assert!(is_right(&subject, &subject.before(), [0, 0, 0]));
    }
}
