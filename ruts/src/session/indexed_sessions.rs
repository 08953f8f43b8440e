//! [`IndexedSessions`]: lists and revokes the sessions that hold a value in a field marked `index`.
//!
//! Made by `SessionIndex`. Calls the store directly, not through `request`.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    field_set::FieldSet,
    index_entry::{FoundEntry, TARGET},
    index_key::{key_name, stored_key},
    principal_sessions::{SessionSummary, SummaryPage, check_fresh, revoke, summary_names},
    value,
};
use crate::{
    auth::PrincipalKey,
    codec::CodecError,
    crypto::field_cipher::FieldCipher,
    error::Error,
    field::FieldSpec,
    store::{Credentials, DynStore, ListedSession, PageRequest, Projection, RevokeTarget},
    token::SessionId,
};

/// Maximum number of attempts to end a session to which other principals keep signing in.
const TRIES: usize = 8;

/// Number of entries that [`revoke_all`](IndexedSessions::revoke_all) reads at a time.
const PAGE: usize = 100;

/// Age from which an entry is removed if its session does not exist. A younger entry may belong to
/// a write in progress.
const MIN_ORPHAN_AGE: Duration = Duration::from_secs(10 * 60);

/// The sessions of signed-in principals that have a certain value in a field. The field is marked
/// `index`.
///
/// For example, an identity provider gives each session a `sid`. Later it may end the session by
/// this `sid`, without naming the user (OpenID Connect Back-Channel Logout 1.0, 2.4):
///
/// ```
/// use std::sync::Arc;
/// use ruts::{Error, session, store::memory::MemoryStore};
///
/// #[session]
/// struct Shop {
///     #[field(principal)]
///     subject: String,
///     #[field(index)]
///     provider_session: String,
/// }
///
/// /// The claim `sid` of a verified logout token.
/// async fn log_out(store: &Arc<MemoryStore>, sid: &str) -> Result<usize, Error> {
///     Shop::sessions(store).by_provider_session(sid).revoke_all().await
/// }
/// ```
///
/// A write of the field by a signed-in user adds an entry to the store. The entry maps the value to
/// the session. A sign-in adds entries for the values that the session already has. If such a call
/// fails and has started a new session, this session may have the value without its entry, so
/// repeat the call. An entry lasts as
/// long as a session can last, and counts as a session in the statistics of the store.
///
/// A write of the field, a sign-in and a sign-out make these additional calls of the store:
///
/// - one to read the field, unless the request has read it,
/// - for a sign-in, one to read the fields again,
/// - one to add the entry of the value, or two if the store already has the entry,
/// - one to check the entry after the write,
/// - two to free the entry of a former value.
///
/// [`Session::delete`](crate::Session::delete) makes one call to read the field, unless the request
/// has read it, and one to free the entry. A call that adds an entry takes as many round trips as a
/// [sign-in](crate::Entry::sign_in).
///
/// A session is found from the end of the call that wrote the value, until the session ends or
/// loses the value. A write or sign-in adds entries only if this process has already used a struct
/// with the field in the same layer. Jobs cannot write the field: [`Error::NoRequest`].
#[derive(Clone)]
pub struct IndexedSessions {
    store: Arc<dyn DynStore>,
    cipher: FieldCipher,
    layer: &'static str,
    field: &'static FieldSpec,
    key: Result<PrincipalKey, CodecError>,
}

impl IndexedSessions {
    pub(super) fn new(
        store: Arc<dyn DynStore>,
        cipher: FieldCipher,
        layer: &'static str,
        field: &'static FieldSpec,
        key: Result<PrincipalKey, CodecError>,
    ) -> Self {
        Self { store, cipher, layer, field, key }
    }

    fn key(&self) -> Result<&PrincipalKey, Error> {
        let key = self.key.as_ref();
        key.map_err(|source| value::encode_error(self.field.name(), source.clone()))
    }

    /// Lists the sessions in no particular order, and reads the given fields of each. `()` reads no
    /// fields. `after` is the `next` of the previous page. `limit` is the maximum number of entries
    /// to examine, so a page can have fewer sessions even if it is not the last page.
    ///
    /// # Round trips
    ///
    /// As many as [`PrincipalSessions::list`](super::PrincipalSessions::list), and one for each
    /// session.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]. [`Error::Encode`] if the value cannot be written as JSON.
    /// [`Error::Decode`] or [`Error::Newer`] if a session holds a value that this release cannot
    /// compare.
    pub async fn list<K: FieldSet>(
        &self,
        fields: K,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<SummaryPage, Error> {
        let page = self.page(&summary_names(&fields), after, limit).await?;
        let summary = |session| Ok(SessionSummary::new(session?, &self.cipher));
        let sessions = page.found.into_iter().map(summary).collect::<Result<_, Error>>()?;
        Ok(SummaryPage { sessions, next: page.next })
    }

    /// Ends all sessions, and returns their number. A session whose write of the value overlaps
    /// with the call may end or stay.
    ///
    /// # Round trips
    ///
    /// As many as [`list`](Self::list) for every hundred entries, and as many as
    /// [`PrincipalSessions::revoke`](super::PrincipalSessions::revoke) for each session that ends.
    ///
    /// # Errors
    ///
    /// The same as for [`list`](Self::list) and for
    /// [`PrincipalSessions::revoke_all`](super::PrincipalSessions::revoke_all). After an error
    /// about one session, the others still end. The first such error is returned.
    pub async fn revoke_all(&self) -> Result<usize, Error> {
        let (mut after, mut ended, mut failed) = (None, 0, None);
        loop {
            let page = self.page(&[], after, PAGE).await?;
            for session in page.found {
                let revoked = match session {
                    Ok(session) => self.revoke(session).await,
                    Err(error) => Err(error),
                };
                match revoked {
                    Ok(is_ended) => ended += usize::from(is_ended),
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            after = page.next;
            if after.is_none() {
                return failed.map_or(Ok(ended), Err);
            }
        }
    }

    /// Ends a session that was found, unless it has lost the value since.
    async fn revoke(&self, session: ListedSession) -> Result<bool, Error> {
        let mut found = Some(session);
        for _ in 0..TRIES {
            let Some(ListedSession { id, loaded, .. }) = found else { return Ok(false) };
            let Some(signed_in) = loaded.meta.signed_in else { return Ok(false) };
            let revoked =
                revoke(&*self.store, &signed_in.principal, RevokeTarget::One(&id)).await?;
            if !check_fresh(revoked)?.is_empty() {
                return Ok(true);
            }
            // The session has ended, or a different principal has signed in to it since the last
            // read. So the session is read again.
            found = self.find(id, &[]).await?;
        }
        Err(Error::Conflict { field: self.field.name().to_owned() })
    }

    /// Reads the sessions to which the entries of a page lead. A session that cannot be read is an
    /// error in the page.
    async fn page(
        &self,
        names: &[&str],
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Page, Error> {
        let key = self.key()?;
        let request = PageRequest::new(after.as_ref(), limit);
        let listed =
            self.store.list_by_principal(key, request, Projection::Named(&[TARGET])).await?;
        let mut found: Vec<Result<ListedSession, Error>> = Vec::new();
        for listed in listed.sessions {
            let entry = match FoundEntry::new(&listed) {
                Ok(Some(entry)) => entry,
                Ok(None) => continue,
                Err(source) => {
                    found.push(Err(value::decode_error(TARGET, source)));
                    continue;
                }
            };
            let added = listed.loaded.meta.signed_in.map(|signed_in| signed_in.ago);
            match self.find(entry.session, names).await.transpose() {
                Some(session) => found.push(session),
                None if added > Some(MIN_ORPHAN_AGE) => entry.free(&*self.store, key).await,
                None => {}
            }
        }
        Ok(Page { found, next: listed.next })
    }

    /// Reads a session. Returns `None` if the session has ended, belongs to a guest, or does not
    /// have the value.
    async fn find(&self, id: SessionId, names: &[&str]) -> Result<Option<ListedSession>, Error> {
        let (name, key_name) = (self.field.name(), key_name(self.field.name()));
        let mut names = [names, &[name, &key_name]].concat();
        names.sort_unstable();
        names.dedup();
        let fields = Projection::Named(&names);
        let Ok(loaded) = self.store.load(Credentials::internal(&id), fields, None).await? else {
            return Ok(None);
        };
        let key = stored_key(self.field, self.layer, |name| loaded.value(name));
        let key = key.map_err(|source| value::decode_error(name, source))?;
        let is_found = key == Some(*self.key()?) && loaded.meta.signed_in.is_some();
        Ok(is_found.then(|| ListedSession::new(id, loaded)))
    }
}

/// The sessions of a page of entries.
struct Page {
    found: Vec<Result<ListedSession, Error>>,
    /// The entry after which the next page begins.
    next: Option<SessionId>,
}

/// Does not show the value.
impl fmt::Debug for IndexedSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexedSessions")
            .field("store", &self.store.store_type().name)
            .field("field", &self.field.name())
            .finish_non_exhaustive()
    }
}
