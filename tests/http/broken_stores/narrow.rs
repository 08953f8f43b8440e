//! Stores that are right for ordinary input: few, short and ASCII names and values, short
//! lifetimes, and one operation at a time. At least one check has to fail for each fault.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use ruts::{
    Ttl,
    auth::{Assurance, PrincipalKey},
    conformance::{Subject, atomicity, expiry, limits, listing, recency, sign_in, values},
    store::{
        AbsoluteDeadline, AuthChange, CachePolicy, Change, Create, Credentials, FieldWrite, Loaded,
        NewSignIn, PageRequest, Precondition, Projection, Refused, RevokeTarget, SessionPage,
        Store, StoreError, StoreErrorKind, StoreResult, TakeField, Touch, Update, Updated, Written,
        memory::{ManualClock, MemoryStore},
    },
    token::{SecretHash, SessionId},
};
use ruts_tests_support::delegate_store;

use super::fails;

/// Declares each fault, the store that has it, and the checks that find it.
macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident, $test:ident: $($check:path),+;)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Fault {
            /// No fault: every check must pass.
            None,
            $($(#[$doc])* $fault,)+
        }

        const FAULTS: &[Fault] = &[Fault::None, $(Fault::$fault),+];

        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                $({
                    let name = stringify!($check);
                    let sound = Setup::<{ Fault::None as usize }>::set_up().await;
                    assert!(!fails($check(&sound)).await, "{name} should pass on a sound store");
                    let faulty = Setup::<{ Fault::$fault as usize }>::set_up().await;
                    assert!(fails($check(&faulty)).await, "{name} should fail on a faulty store");
                })+
            }
        )+
    };
}

faults! {
    /// The names of fields do not depend on case.
    FoldsCase, names_without_case_are_found: values::names_differ_by_any_byte;
    /// The names of fields do not depend on spaces at their end.
    TrimsNames, trimmed_names_are_found: values::names_differ_by_any_byte;
    /// The names of fields do not depend on accents.
    FoldsAccents, names_without_accents_are_found: values::names_differ_by_any_byte;
    /// The names of fields are compared by their first 100 characters.
    CutsNames, cut_names_are_found: values::names_differ_by_any_byte;
    /// Values are cut after 1 MiB.
    CutsValues, cut_values_are_found: values::a_very_long_value_is_whole_or_refused;
    /// Values are cut after 64 KiB.
    CutsLongValues, values_cut_early_are_found: values::any_bytes_survive;
    /// Values of more than 1 MiB are refused as if the store were not reachable.
    RefusesValues, a_wrong_refusal_is_found: values::a_very_long_value_is_whole_or_refused;
    /// A creation with a value of more than 1 MiB fails after it created the session.
    CreatesBeforeRefusal, half_a_creation_is_found:
        values::a_very_long_value_is_whole_or_refused;
    /// A read returns at most 50 fields.
    ReadsOnePage, a_read_of_one_page_is_found: values::many_fields_are_written_and_read_at_once;
    /// A read by name takes at most 16 names.
    ReadsFewNames, a_read_of_few_names_is_found: values::many_fields_are_written_and_read_at_once;
    /// An update takes at most 25 changes.
    WritesFewChanges, a_write_of_few_changes_is_found:
        values::many_fields_are_written_and_read_at_once,
        atomicity::many_changes_of_a_field_apply_in_order;
    /// An update removes fields, and then sets fields.
    RemovesFirst, changes_in_another_order_are_found:
        atomicity::many_changes_of_a_field_apply_in_order;
    /// A creation ignores the TTLs of its fields.
    CreateIgnoresTtls, a_creation_without_ttls_is_found:
        values::a_creation_keeps_cache_policies_and_ttls;
    /// A creation ignores the cache policies of its fields.
    CreateIgnoresPolicies, a_creation_without_policies_is_found:
        values::a_creation_keeps_cache_policies_and_ttls;
    /// A creation ignores the assurance of its sign-in.
    CreateIgnoresAssurance, a_creation_without_assurance_is_found:
        sign_in::a_creation_keeps_its_sign_in;
    /// Lifetimes are milliseconds of 31 bits, which wrap.
    WrapsLifetimes, lifetimes_that_wrap_are_found:
        expiry::long_lifetimes_are_kept, expiry::a_session_lives_for_a_month;
    /// Lifetimes are milliseconds of 31 bits.
    CapsAt31Bits, lifetimes_of_31_bits_are_found:
        expiry::long_lifetimes_are_kept, expiry::a_session_lives_for_a_month;
    /// Lifetimes are milliseconds of 32 bits.
    CapsAt32Bits, lifetimes_of_32_bits_are_found: expiry::long_lifetimes_are_kept;
    /// A field can be given a new lifetime of at most a day.
    CapsExpiry, a_limit_of_new_lifetimes_is_found: expiry::long_lifetimes_are_kept;
    /// Lifetimes are whole seconds, and zero means none.
    CountsSeconds, a_lifetime_rounded_to_none_is_found: expiry::the_shortest_lifetime_ends;
    /// Preconditions do not depend on case.
    ComparesWithoutCase, a_comparison_without_case_is_found:
        atomicity::a_precondition_compares_every_byte;
    /// Preconditions do not depend on spaces at the end.
    ComparesTrimmed, a_comparison_without_spaces_is_found:
        atomicity::a_precondition_compares_every_byte;
    /// Preconditions compare the first 1024 bytes.
    ComparesStart, a_comparison_of_the_start_is_found:
        atomicity::a_precondition_compares_every_byte;
    /// Deleted sessions and replaced secrets are recognised for ten seconds.
    ForgetsSoon, ended_secrets_forgotten_too_soon_are_found:
        recency::a_deleted_session_is_recognised_for_a_minute;
    /// Only the first half of a secret is compared.
    ComparesHalfSecrets, half_a_secret_is_found: recency::a_secret_is_compared_as_a_whole;
    /// Only the first half of an id is used.
    UsesHalfIds, half_an_id_is_found: values::ids_differ_by_any_bit;
    /// Only the first half of a principal's key is used.
    UsesHalfPrincipals, half_a_principal_is_found: listing::principals_differ_by_any_bit;
    /// A limit ends every session whose sign-in is as old as that of a session that has to end.
    EndsEqualTimes, equal_times_that_end_together_are_found:
        limits::a_limit_holds_for_parallel_sign_ins;
}

#[derive(Clone)]
struct NarrowStore {
    fault: Fault,
    inner: MemoryStore,
    /// The first spelling of each name, by what the database compares.
    names: Arc<Mutex<HashMap<String, String>>>,
    /// All secrets that were set.
    secrets: Arc<Mutex<Vec<SecretHash>>>,
}

struct Setup<const FAULT: usize> {
    clock: ManualClock,
    store: Arc<NarrowStore>,
}

impl<const FAULT: usize> Subject for Setup<FAULT> {
    type Store = NarrowStore;

    async fn set_up() -> Self {
        let clock = ManualClock::new();
        let inner = MemoryStore::builder().clock(clock.clone()).build();
        let (names, secrets) = Default::default();
        Self { clock, store: Arc::new(NarrowStore { fault: FAULTS[FAULT], inner, names, secrets }) }
    }

    fn store(&self) -> Arc<NarrowStore> {
        Arc::clone(&self.store)
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

fn error(kind: StoreErrorKind) -> StoreError {
    StoreError::new("narrow", kind)
}

/// Returns the same bytes with zeros in their second half.
fn half<const LENGTH: usize>(bytes: &[u8; LENGTH]) -> [u8; LENGTH] {
    std::array::from_fn(|at| if at < LENGTH / 2 { bytes[at] } else { 0 })
}

impl NarrowStore {
    /// Returns the name under which the database keeps a field.
    fn fold(&self, name: &str) -> String {
        let key = match self.fault {
            Fault::FoldsCase => name.to_lowercase(),
            Fault::TrimsNames => name.trim_end_matches(' ').to_owned(),
            Fault::FoldsAccents => {
                name.chars().map(|c| if "éêè".contains(c) { 'e' } else { c }).collect()
            }
            Fault::CutsNames => name.chars().take(100).collect(),
            _ => return name.to_owned(),
        };
        let mut names = self.names.lock().unwrap();
        names.entry(key).or_insert_with(|| name.to_owned()).clone()
    }

    fn value(&self, value: &Bytes) -> Result<Bytes, StoreError> {
        let most = match self.fault {
            Fault::CutsLongValues => 1 << 16,
            Fault::CutsValues | Fault::RefusesValues | Fault::CreatesBeforeRefusal => 1 << 20,
            _ => usize::MAX,
        };
        match self.fault {
            Fault::RefusesValues if value.len() > most => Err(error(StoreErrorKind::Unavailable)),
            Fault::CreatesBeforeRefusal if value.len() > most => Err(error(StoreErrorKind::Full)),
            _ => Ok(value.slice(..value.len().min(most))),
        }
    }

    fn lifetime(&self, ttl: Ttl) -> Option<Ttl> {
        let millis = ttl.as_millis();
        let kept = match self.fault {
            Fault::WrapsLifetimes => (millis % (1 << 31)).max(1),
            Fault::CapsAt31Bits => millis.min((1 << 31) - 1),
            Fault::CapsAt32Bits => millis.min((1 << 32) - 1),
            Fault::CountsSeconds => millis / 1000 * 1000,
            _ => millis,
        };
        Ttl::new(Duration::from_millis(kept)).ok()
    }

    fn touch(&self, touch: Option<Touch>) -> Option<Touch> {
        touch.and_then(|touch| Some(Touch::new(self.lifetime(touch.idle)?, touch.after)))
    }

    fn id(&self, id: &SessionId) -> SessionId {
        match self.fault {
            Fault::UsesHalfIds => SessionId::from_bytes(half(id.as_bytes())),
            _ => *id,
        }
    }

    fn principal(&self, principal: &PrincipalKey) -> PrincipalKey {
        match self.fault {
            Fault::UsesHalfPrincipals => PrincipalKey::from_bytes(half(principal.as_bytes())),
            _ => *principal,
        }
    }

    /// Returns the secret that the store compares with the presented one.
    fn secret(&self, credentials: Credentials<'_>) -> Option<SecretHash> {
        let presented = credentials.secret()?;
        let secrets = self.secrets.lock().unwrap();
        let alike =
            secrets.iter().find(|known| half(known.as_bytes()) == half(presented.as_bytes()));
        Some(*alike.filter(|_| self.fault == Fault::ComparesHalfSecrets).unwrap_or(presented))
    }

    fn answer<T>(&self, answer: StoreResult<T>) -> StoreResult<T> {
        Ok(match answer? {
            Err(Refused::Deleted { ago } | Refused::Replaced { ago })
                if self.fault == Fault::ForgetsSoon && ago > Duration::from_secs(10) =>
            {
                Err(Refused::NotFound)
            }
            answer => answer,
        })
    }

    fn write<'a>(&self, write: &FieldWrite<'_>, name: &'a str, value: &'a Bytes) -> FieldWrite<'a> {
        let ttl = write.ttl.and_then(|ttl| self.lifetime(ttl));
        FieldWrite::new(name, value).ttl(ttl).cache_policy(write.cache_policy)
    }

    /// Returns whether the database takes two values for equal.
    fn is_alike(&self, one: &[u8], other: &[u8]) -> bool {
        match self.fault {
            Fault::ComparesWithoutCase => one.eq_ignore_ascii_case(other),
            Fault::ComparesTrimmed => one.trim_ascii_end() == other.trim_ascii_end(),
            Fault::ComparesStart => one[..one.len().min(1024)] == other[..other.len().min(1024)],
            _ => false,
        }
    }

    /// Ends the sessions of a principal if a sign-in ends one of them.
    async fn end_equal_times(&self, id: &SessionId, who: &NewSignIn<'_>) -> Result<(), StoreError> {
        let (page, none) = (PageRequest::new(None, 1000), Projection::Named(&[]));
        let listed = self.inner.list_by_principal(who.principal, page, none).await?.sessions;
        let others = listed.iter().filter(|listed| listed.id != *id).count();
        if who.limit.is_some_and(|limit| others >= limit.sessions as usize) {
            let target = RevokeTarget::All { except: Some(id) };
            self.inner.revoke(who.principal, target).await?;
        }
        Ok(())
    }
}

/// Returns the same credentials with what the store compares.
fn presented<'a>(id: &'a SessionId, secret: &'a Option<SecretHash>) -> Credentials<'a> {
    match secret {
        Some(secret) => Credentials::new(id, secret),
        None => Credentials::internal(id),
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for NarrowStore {
    delegate_store!(self.inner: inspect expiry wait_for_change revoke_everyone hint_cache_policy
        delete_expired);

    fn name(&self) -> &'static str {
        "narrow"
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> StoreResult<Loaded> {
        let (id, secret) = (self.id(credentials.id), self.secret(credentials));
        let Projection::Named(names) = fields else {
            let loaded = self.inner.load(presented(&id, &secret), fields, self.touch(touch)).await;
            let mut loaded = self.answer(loaded)?;
            if let (Ok(loaded), Fault::ReadsOnePage) = (&mut loaded, self.fault) {
                loaded.fields.truncate(50);
            }
            return Ok(loaded);
        };
        if self.fault == Fault::ReadsFewNames && names.len() > 16 {
            return Err(error(StoreErrorKind::Unavailable));
        }
        let folded: Vec<_> = names.iter().map(|name| self.fold(name)).collect();
        let folded: Vec<_> = folded.iter().map(String::as_str).collect();
        let fields = Projection::Named(&folded);
        let loaded = self.inner.load(presented(&id, &secret), fields, self.touch(touch)).await;
        let mut loaded = self.answer(loaded)?;
        for field in loaded.iter_mut().flat_map(|loaded| &mut loaded.fields) {
            if let Some(name) = names.iter().find(|name| self.fold(name) == *field.name) {
                field.name = (*name).into();
            }
        }
        Ok(loaded)
    }

    async fn create(&self, create: Create<'_>) -> Result<Written<()>, StoreError> {
        self.secrets.lock().unwrap().push(*create.secret);
        let id = self.id(create.id);
        let names: Vec<_> = create.fields.iter().map(|write| self.fold(write.name)).collect();
        let values: Result<Vec<_>, _> =
            create.fields.iter().map(|write| self.value(write.value)).collect();
        if values.is_err() && self.fault == Fault::CreatesBeforeRefusal {
            self.inner.create(Create::new(&id, create.secret)).await?;
        }
        let values = values?;
        let fields: Vec<_> = (create.fields.iter().zip(names.iter().zip(&values)))
            .map(|(write, (name, value))| {
                let write = self.write(write, name, value);
                match self.fault {
                    Fault::CreateIgnoresTtls => write.ttl(None),
                    Fault::CreateIgnoresPolicies => write.cache_policy(CachePolicy::Default),
                    _ => write,
                }
            })
            .collect();
        let mut new = Create::new(&id, create.secret).fields(&fields);
        new.idle = create.idle.and_then(|idle| self.lifetime(idle));
        new.absolute = create.absolute.and_then(|absolute| self.lifetime(absolute));
        let principal = create.sign_in.map(|who| self.principal(who.principal));
        new.sign_in = create.sign_in.zip(principal.as_ref()).map(|(who, principal)| {
            let assurance = match self.fault {
                Fault::CreateIgnoresAssurance => Assurance::Aal1,
                _ => who.assurance,
            };
            NewSignIn::new(principal, assurance).limit(who.limit)
        });
        if let (Some(who), Fault::EndsEqualTimes) = (&new.sign_in, self.fault) {
            self.end_equal_times(&id, who).await?;
        }
        self.inner.create(new).await
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        mut update: Update<'_>,
    ) -> StoreResult<Written<Updated>> {
        let (id, secret) = (self.id(credentials.id), self.secret(credentials));
        let credentials = presented(&id, &secret);
        if self.fault == Fault::WritesFewChanges && update.changes.len() > 25 {
            return Err(error(StoreErrorKind::Unavailable));
        }
        let new_secrets = update.rotate.into_iter().chain(update.renew.map(|renew| renew.secret));
        self.secrets.lock().unwrap().extend(new_secrets);

        let names: Vec<_> = update.changes.iter().map(|change| self.fold(change.name())).collect();
        let mut values = Vec::new();
        for change in update.changes {
            values.push(match change {
                Change::Set(write) => self.value(write.value)?,
                _ => Bytes::new(),
            });
        }
        let mut changes = Vec::new();
        for (change, (name, value)) in update.changes.iter().zip(names.iter().zip(&values)) {
            changes.push(match change {
                Change::Set(write) => Change::Set(self.write(write, name, value)),
                Change::Expire(_, ttl) if self.fault == Fault::CapsExpiry => {
                    Change::Expire(name, (*ttl).min(Ttl::from_secs(24 * 60 * 60)))
                }
                Change::Expire(_, ttl) => match self.lifetime(*ttl) {
                    Some(ttl) => Change::Expire(name, ttl),
                    None => continue,
                },
                _ => Change::Remove(name),
            });
        }
        if self.fault == Fault::RemovesFirst {
            changes.sort_by_key(|change| !matches!(change, Change::Remove(_)));
        }
        update.changes = &changes;

        let name = update.precondition.map(|precondition| self.fold(precondition.name));
        let mut current = None;
        if let (Some(Precondition { value, .. }), Some(name)) = (update.precondition, &name) {
            let names: &[&str] = &[name];
            let internal = Credentials::internal(&id);
            if let Ok(loaded) = self.inner.load(internal, Projection::Named(names), None).await? {
                current = loaded.fields.into_iter().next().map(|field| field.value);
            }
            let alike = current.as_ref().zip(value).filter(|(one, two)| self.is_alike(one, two));
            update.precondition = Some(Precondition::new(name, alike.map(|it| it.0).or(value)));
        }

        update.touch = self.touch(update.touch);
        update.absolute = update.absolute.and_then(|deadline| {
            let from_creation = deadline.from_creation.and_then(|ttl| self.lifetime(ttl));
            Some(AbsoluteDeadline::new(self.lifetime(deadline.from_now)?, from_creation))
        });
        let principal = match update.auth_change {
            Some(AuthChange::In { who, .. }) => Some(self.principal(who.principal)),
            _ => None,
        };
        if let (Some(AuthChange::In { who, idle, absolute }), Some(principal)) =
            (update.auth_change, &principal)
        {
            let (limit, keep) = (who.limit, who.keep_fields);
            let who = NewSignIn::new(principal, who.assurance).limit(limit).keep_fields(keep);
            if self.fault == Fault::EndsEqualTimes {
                self.end_equal_times(&id, &who).await?;
            }
            let [idle, absolute] =
                [idle, absolute].map(|ttl| ttl.and_then(|ttl| self.lifetime(ttl)));
            update.auth_change = Some(AuthChange::In { who, idle, absolute });
        }
        self.answer(self.inner.update(credentials, update).await)
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        mut take: TakeField<'_>,
    ) -> StoreResult<Written<Option<Bytes>>> {
        let (id, secret) = (self.id(credentials.id), self.secret(credentials));
        let name = self.fold(take.name);
        (take.name, take.touch) = (&name, self.touch(take.touch));
        self.answer(self.inner.take(presented(&id, &secret), take).await)
    }

    async fn delete(&self, credentials: Credentials<'_>) -> StoreResult<Written<()>> {
        let (id, secret) = (self.id(credentials.id), self.secret(credentials));
        self.answer(self.inner.delete(presented(&id, &secret)).await)
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        self.inner.list_by_principal(&self.principal(principal), page, fields).await
    }

    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Written<Vec<SessionId>>, StoreError> {
        self.inner.revoke(&self.principal(principal), target).await
    }
}
