//! [`Inherited`]: the fields that a sign-in takes over from lost sessions. It takes over fields if
//! the store refuses the token of the client, or if the session is a successor.
//!
//! Used by `transfer`. Knows refused tokens, stored fields and their encryption. It reads from the
//! store, but does not write to it.
//!
//! A client that clicked twice, or lost the response to a sign-in, presents a secret that the store
//! has replaced. The next sign-in has to find the fields of the session with this secret, such as a
//! cart. They are in that session or, if the client lost several responses, in the session that the
//! latest sign-in attempt has created. An attempt computes the id of its session from the id of the
//! former session, the principal key and the number of the attempt. So the next attempt finds this
//! session.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    former_token::{FORMER, FormerToken},
    identity::LostReason,
    own_fields::{INCOMPLETE, REMEMBERED, STAMP},
    shared::Shared,
    state::RefusedToken,
    write_plan::WritePlan,
};
use crate::{
    auth::PrincipalKey,
    client::RECORD,
    crypto::field_cipher::{FieldAad, Plaintext},
    error::Error,
    field::FieldSpec,
    session::index_key::key_name,
    store::{Credentials, Loaded, Projection, Refused, SessionMeta, StoredField},
    token::{CookieLife, SessionId},
    ttl::Ttl,
};

/// Assumed maximum drift between the clocks of the store's server and of this process during a
/// call.
const CLOCK_ERROR: Duration = Duration::from_millis(10);

/// Maximum number of earlier sign-in attempts that a search looks for.
const MAX_ATTEMPTS: u8 = 16;

/// Maximum number of successors in a chain that a sign-in follows back to former sessions.
const MAX_SUCCESSORS: usize = 8;

/// The parts of other sessions that a sign-in takes over, and the id of the new session.
pub(super) struct Inherited {
    pub(super) id: SessionId,
    pub(super) fields: Vec<StoredField>,
    /// The principal that signs in, if a session of this principal was found: the former session,
    /// or the session of an earlier attempt.
    pub(super) principal: Option<PrincipalKey>,
    /// The lifetime of the cookie of the former session.
    pub(super) cookie_life: CookieLife,
    /// Sessions of the principal that the new session replaces. They have to end only if the
    /// session limit refuses the sign-in.
    pub(super) replaced: Vec<SessionId>,
    /// The field [`FORMER`] of the former session, if that session is a successor.
    former: Option<Bytes>,
}

impl Inherited {
    /// Returns an `Inherited` without fields to take over, with an id for the new session.
    fn nothing(id: SessionId) -> Self {
        Self {
            id,
            fields: Vec::new(),
            principal: None,
            cookie_life: CookieLife::Default,
            replaced: Vec::new(),
            former: None,
        }
    }

    /// Finds the parts to take over. The search for one refused token finds them in at most two
    /// sessions. If both have a field, the value of the former session counts.
    ///
    /// - The former session, if the same principal is signed in to it: the lifetime of its cookie,
    ///   and its fields. Fields marked `once`, and reserved fields that belong to that session
    ///   alone, stay behind.
    /// - The former session, if it belongs to a guest: the fields that a schema declares without
    ///   `rotate`. A field with `rotate` may be the reason for which the secret was replaced. The
    ///   presented secret must still be valid, or the store must have recorded no use of the secret
    ///   that replaced it.
    /// - The session of the latest attempt, if the store has recorded no use of it: the same fields
    ///   as in the first case. Its fields are not needed if the principal is signed in to a former
    ///   session that is not a successor.
    ///
    /// The search does not change the former session, because the client may still receive its
    /// cookie.
    pub(super) async fn find(
        shared: &Shared,
        refused: &[RefusedToken],
        plan: &WritePlan,
        id: NewId,
    ) -> Result<Self, Error> {
        let mut known = refused.iter().filter(|token| token.reason.may_be_lost());
        let Some(principal) =
            plan.principal_change.and_then(|principal_change| principal_change.principal())
        else {
            return Ok(Self::nothing(match (known.next(), id) {
                (Some(token), NewId::OfAttempt { tries }) => {
                    SessionId::of_successor(&token.id, tries)
                }
                _ => id.or_random()?,
            }));
        };
        let search = |token: &RefusedToken| Search::of_token(shared, *token, &principal, None);
        let found = Self::choose(known.map(search).collect(), id).await?;
        found.follow(shared, &principal, None).await
    }

    /// Finds the parts that a successor takes over when its principal signs in. Their values are
    /// encrypted for the id in the answer. `former` is the field [`FORMER`] of the successor.
    ///
    /// An earlier sign-in with a former secret of the successor may already have created a session
    /// with these parts.
    pub(super) async fn of_successor(
        shared: &Shared,
        successor: SessionId,
        former: &Bytes,
        principal: &PrincipalKey,
    ) -> Result<Self, Error> {
        let searches = Search::of_former(shared, former, principal, Some(successor)).await?;
        let cookie_life = searches.first().map_or(CookieLife::Default, |search| search.cookie_life);
        // The next attempt of the former session is found from the former token, too.
        let found = Self::choose(searches, NewId::OfAttempt { tries: 0 }).await?;
        let mut found = found.follow(shared, principal, Some(successor)).await?;
        let attempts = Search {
            shared,
            id: successor,
            token: None,
            cookie_life,
            principal,
            successor: Some(successor),
        };
        found.add(attempts.run(NewId::Existing(found.id)).await?);
        Ok(found)
    }

    /// Adds the parts of earlier sessions. As long as the former session is a successor, searches
    /// the sessions of the tokens in its field [`FORMER`].
    async fn follow(
        mut self,
        shared: &Shared,
        principal: &PrincipalKey,
        successor: Option<SessionId>,
    ) -> Result<Self, Error> {
        for _ in 0..MAX_SUCCESSORS {
            let Some(former) = self.former.take() else { break };
            let searches = Search::of_former(shared, &former, principal, successor).await?;
            let mut older = Self::choose(searches, NewId::Existing(self.id)).await?;
            self.former = older.former.take();
            self.add(older);
        }
        Ok(self)
    }

    /// Runs the searches. Returns the parts of the first session that belongs to the principal. If
    /// there is none, returns the parts of a guest's session, preferably of one with fields to take
    /// over.
    async fn choose(searches: Vec<Search<'_>>, id: NewId) -> Result<Self, Error> {
        let mut guest = None;
        for search in searches {
            let found = search.run(id).await?;
            if found.principal.is_some() {
                return Ok(found);
            }
            // An attacker may have planted the cookie of a guest session without fields.
            let has_more = |guest: &Self| guest.fields.is_empty() && !found.fields.is_empty();
            if guest.as_ref().is_none_or(has_more) {
                guest = Some(found);
            }
        }
        match guest {
            Some(guest) => Ok(guest),
            None => Ok(Self::nothing(id.or_random()?)),
        }
    }

    /// Returns the fields as the session `id` stores them: encrypted values are encrypted again for
    /// this id. Leaves out fields that cannot be decrypted.
    pub(super) fn fields_for(&self, shared: &Shared, id: &SessionId) -> Vec<StoredField> {
        move_fields(shared, self.fields.clone(), &self.id, id)
    }

    /// Adds the parts of `other` that are missing in these parts.
    fn add(&mut self, other: Self) {
        if self.principal.is_none() {
            (self.principal, self.cookie_life) = (other.principal, other.cookie_life);
        } else if self.cookie_life == CookieLife::Default && other.principal.is_some() {
            self.cookie_life = other.cookie_life;
        }
        self.replaced.extend(other.replaced);
        self.add_fields(other.fields);
    }

    /// Adds the fields whose names are not among the inherited fields yet.
    fn add_fields(&mut self, fields: Vec<StoredField>) {
        for field in fields {
            if self.fields.iter().all(|own| own.name != field.name) {
                self.fields.push(field);
            }
        }
    }
}

/// The choice of an id for the session that replaces a former session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NewId {
    /// The id that belongs to the next attempt to sign in, or to the next successor. `tries` is the
    /// number of successors whose ids were taken.
    OfAttempt { tries: u8 },
    /// A random id, because parallel requests have taken the ids of several attempts.
    Random,
    /// An id that is already chosen.
    Existing(SessionId),
}

impl NewId {
    /// Returns the id that is already chosen, or a random id.
    fn or_random(self) -> Result<SessionId, Error> {
        match self {
            Self::Existing(id) => Ok(id),
            Self::OfAttempt { .. } | Self::Random => Ok(SessionId::random()?),
        }
    }
}

/// The search for a former session and the sessions of earlier attempts to sign in.
struct Search<'a> {
    shared: &'a Shared,
    /// Id of the former session.
    id: SessionId,
    /// The refused token of the former session. `None` to search only for the earlier attempts.
    token: Option<RefusedToken>,
    /// The lifetime of its cookie.
    cookie_life: CookieLife,
    /// The principal that signs in.
    principal: &'a PrincipalKey,
    /// The successor to which the principal signs in. It does not replace itself.
    successor: Option<SessionId>,
}

impl<'a> Search<'a> {
    fn of_token(
        shared: &'a Shared,
        token: RefusedToken,
        principal: &'a PrincipalKey,
        successor: Option<SessionId>,
    ) -> Self {
        let RefusedToken { id, cookie_life, .. } = token;
        Self { shared, id, token: Some(token), cookie_life, principal, successor }
    }

    /// Returns the searches for the tokens in the field [`FORMER`].
    async fn of_former(
        shared: &'a Shared,
        former: &[u8],
        principal: &'a PrincipalKey,
        successor: Option<SessionId>,
    ) -> Result<Vec<Self>, Error> {
        let mut searches = Vec::new();
        for FormerToken { id, secret, cookie_life } in FormerToken::decode(former) {
            let (credentials, asked) = (Credentials::new(&id, &secret), Instant::now());
            let loaded =
                shared.call_store().load(credentials, Projection::Named(&[]), None).await?;
            let Err(reason) = loaded else { continue };
            let token = RefusedToken::new(id, secret, cookie_life, reason, asked);
            if token.reason.may_be_lost() {
                searches.push(Self::of_token(shared, token, principal, successor));
            }
        }
        Ok(searches)
    }

    async fn run(self, new: NewId) -> Result<Inherited, Error> {
        let mut found = Inherited::nothing(new.or_random()?);
        let mut sources = Vec::new();
        if let Some(token) = self.token.filter(|token| token.reason == LostReason::Replaced) {
            sources.extend(self.look_at_former(&token, &mut found).await?);
        }
        // A former session that is a successor may lack fields that its sign-in was about to add.
        let is_complete = found.principal.is_some() && found.former.is_none();
        let former = &self.id;
        let of_attempt = |number| SessionId::of_attempt(former, self.principal.as_bytes(), number);
        let of_successor = |number| SessionId::of_successor(former, number);
        let (attempt, free) = self.latest(&of_attempt, &mut found).await?;
        let (successor, _) = self.latest(&of_successor, &mut found).await?;
        if let (NewId::OfAttempt { .. }, Some(free)) = (new, free) {
            found.id = free;
        }
        // The fields of the former session come first, because the client may have continued to use
        // it.
        for id in [attempt, successor].into_iter().flatten().filter(|_| !is_complete) {
            let loaded = self.load(Credentials::internal(&id), Projection::All).await?;
            if let Ok(Loaded { mut fields, .. }) = loaded {
                self.retain_own(&mut fields);
                sources.push((id, fields));
            }
        }
        for (id, fields) in sources {
            let fields = move_fields(self.shared, fields, &id, &found.id);
            found.add_fields(fields);
        }
        Ok(found)
    }

    /// Searches the sessions with the ids that `id` returns, in their order. Returns the id of the
    /// latest session that an earlier attempt of this principal has created and no client has used.
    /// Also returns the first id that no session has.
    async fn latest(
        &self,
        id: &(dyn Fn(u8) -> SessionId + Sync),
        found: &mut Inherited,
    ) -> Result<(Option<SessionId>, Option<SessionId>), Error> {
        let mut latest = None;
        for id in (0..MAX_ATTEMPTS).map(id) {
            match self.load(Credentials::internal(&id), Projection::Named(&[INCOMPLETE])).await? {
                Ok(attempt) if self.is_unused(&attempt) && self.successor != Some(id) => {
                    if attempt.meta.signed_in.is_some() {
                        found.replaced.push(id);
                    }
                    if found.principal.is_none() {
                        (found.principal, found.cookie_life) =
                            (Some(*self.principal), self.cookie_life);
                    }
                    latest = Some(id);
                }
                Err(Refused::NotFound) => return Ok((latest, Some(id))),
                Ok(_) | Err(_) => {}
            }
        }
        Ok((latest, None))
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
    ) -> Result<Result<Loaded, Refused>, Error> {
        Ok(self.shared.call_store().load(credentials, fields, None).await?)
    }

    /// Inspects the session that the token names. Returns its id and the fields to take over.
    async fn look_at_former(
        &self,
        token: &RefusedToken,
        found: &mut Inherited,
    ) -> Result<Option<(SessionId, Vec<StoredField>)>, Error> {
        let RefusedToken { id: former, secret, cookie_life, .. } = *token;
        let mut loaded = Err(Refused::NotFound);
        if self.shared.config().renews(cookie_life) {
            loaded = self.load(Credentials::new(&former, &secret), Projection::All).await?;
        }
        let is_in_grace = loaded.is_ok();
        if !is_in_grace {
            loaded = self.load(Credentials::internal(&former), Projection::All).await?;
        }
        let Ok(Loaded { meta, mut fields }) = loaded else { return Ok(None) };
        let is_replaced = is_in_grace || is_unheard(&meta, token.longest_since());
        let successor = fields.iter().find(|field| field.name == FORMER);
        let successor = successor.map(|field| field.value.clone());
        match meta.signed_in {
            Some(signed_in) if signed_in.principal == *self.principal => {
                (found.principal, found.cookie_life) = (Some(*self.principal), cookie_life);
                if is_replaced {
                    found.replaced.push(former);
                }
                self.retain_own(&mut fields);
            }
            None if is_replaced => self.retain_plain(&mut fields),
            Some(_) | None => return Ok(None),
        }
        found.former = successor;
        Ok(Some((former, fields)))
    }

    /// Returns whether an earlier attempt has created this session, and the store has recorded no
    /// use of it. After a use, the session may hold fields that a client with only the former
    /// secret must not get.
    fn is_unused(&self, attempt: &Loaded) -> bool {
        let Loaded { meta, fields } = attempt;
        match meta.signed_in {
            Some(signed_in) => {
                let is_own = signed_in.principal == *self.principal;
                is_own && meta.secret_age >= signed_in.ago && meta.idle_for >= signed_in.ago
            }
            // The attempt has created the session, but not signed in to it yet: it has the field
            // `INCOMPLETE`.
            None => !fields.is_empty(),
        }
    }

    /// Keeps only the fields that a different session of the same principal takes over.
    fn retain_own(&self, fields: &mut Vec<StoredField>) {
        let schemas = self.shared.schemas();
        // The values of `RECORD` and `STAMP` are bound to the id of their session.
        let is_of_session =
            |name: &str| [REMEMBERED, INCOMPLETE, FORMER, RECORD, STAMP].contains(&name);
        fields.retain(|field| !is_of_session(&field.name) && !schemas.declares_once(&field.name));
    }

    /// Keeps only the fields that a sign-in takes over from a guest: fields declared without
    /// `rotate`, and the reserved fields with their index keys.
    fn retain_plain(&self, fields: &mut Vec<StoredField>) {
        let schemas = self.shared.schemas();
        let indexes = schemas.indexes().into_iter().map(FieldSpec::name);
        let keys: Vec<String> =
            indexes.filter(|name| schemas.declares_plain(name)).map(key_name).collect();
        fields.retain(|field| {
            schemas.declares_plain(&field.name) || keys.iter().any(|key| *key == *field.name)
        });
    }
}

/// Returns the fields of the session `from` as the session `to` stores them: encrypted values are
/// encrypted again for its id. Leaves out fields that cannot be decrypted or that have just
/// expired.
fn move_fields(
    shared: &Shared,
    mut fields: Vec<StoredField>,
    from: &SessionId,
    to: &SessionId,
) -> Vec<StoredField> {
    let cipher = &shared.config().cipher;
    fields.retain_mut(|field| {
        if field.ttl.is_some_and(|left| Ttl::new(left).is_err()) {
            return false;
        }
        let [from, to] = [from, to].map(|id| FieldAad { id, field: &field.name });
        let value = match cipher.decrypt(from, &field.value) {
            Ok(Plaintext { was_encrypted: false, .. }) => return true,
            Ok(Plaintext { bytes, .. }) => cipher.encrypt(to, &bytes).ok(),
            Err(_) => None,
        };
        value.map(|value| field.value = value).is_some()
    });
    fields
}

/// Returns whether the secret was replaced by a rotation, and the store has recorded no use of the
/// new secret since. `longest_since` is the maximum time since the former secret was last valid.
/// After a renewal, the former secret stays valid until the new secret is used. So after a renewal,
/// the new secret is older than `longest_since`.
fn is_unheard(meta: &SessionMeta, longest_since: Duration) -> bool {
    let is_rotation = meta.secret_age <= longest_since.saturating_add(CLOCK_ERROR);
    is_rotation && meta.idle_for >= meta.secret_age
}
