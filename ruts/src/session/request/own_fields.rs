//! [`OwnFields`]: the reserved fields `ruts.*` that a sign-in or sign-out writes.
//!
//! Used by `creation`, `inherited`, `operations`, `transfer` and `principal_sessions`. Knows their
//! formats, and makes no store call.

use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{shared::Shared, write_plan::WritePlan};
use crate::{
    client::RECORD,
    codec::{self, CodecError},
    session::config::PrincipalChange,
    store::{Change, FieldWrite},
    token::{CookieLife, SessionId},
};

/// Name of the field that holds how long a sign-in is remembered. Only lists of sessions read this
/// field: a request reads the time from its token.
pub(in crate::session) const REMEMBERED: &str = "ruts.remembered";

/// Name of the field that holds digests of stamps: the user's stamp at the sign-in, and a second
/// stamp if the session [accepts](accept_stamp) one.
pub(super) const STAMP: &str = "ruts.stamp";

/// Name of the field that marks an incomplete session: its principal can sign in only after other
/// sessions have ended.
pub(super) const INCOMPLETE: &str = "ruts.incomplete";

/// Length of the digest of a stamp.
const STAMP_LEN: usize = 16;

/// Values of the reserved fields after a change of principal.
#[derive(Default)]
pub(super) struct OwnFields {
    client: Option<Bytes>,
    remembered: Option<Bytes>,
    /// Whether the change ends a remembered sign-in, and starts no other one.
    forgets: bool,
    stamp: Option<Bytes>,
}

impl OwnFields {
    /// Returns the reserved fields of the session `id` after a write. The lifetime of its cookie
    /// was `former`, and becomes `cookie`.
    pub(super) fn new(
        shared: &Shared,
        id: &SessionId,
        plan: &WritePlan,
        [former, cookie_life]: [CookieLife; 2],
    ) -> Self {
        let was_remembered = former.remembered().is_some();
        match &plan.principal_change {
            None => Self::default(),
            Some(PrincipalChange::Out(_)) => Self { forgets: was_remembered, ..Self::default() },
            Some(PrincipalChange::In { options, .. }) => {
                let remembered = cookie_life.remembered().map(|life| life.as_secs().to_be_bytes());
                Self {
                    client: shared
                        .client
                        .as_ref()
                        .map(|client| codec::wrap_own(&client.record(id))),
                    forgets: was_remembered && remembered.is_none(),
                    remembered: remembered.map(|life| codec::wrap_own(&life)),
                    stamp: options.stamp.map(|stamp| codec::wrap_own(&bind_stamp(&stamp, id))),
                }
            }
        }
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = Change<'_>> + Clone {
        let set = |name, value| Change::Set(FieldWrite::new(name, value));
        let client = self.client.as_ref().map(|record| set(RECORD, record));
        let remembered = self.remembered.as_ref().map(|life| set(REMEMBERED, life));
        let forget = self.forgets.then_some(Change::Remove(REMEMBERED));
        let stamp = self.stamp.as_ref().map(|stamp| set(STAMP, stamp));
        [client, remembered, forget, stamp].into_iter().flatten()
    }
}

/// Returns the digest of a stamp as a session keeps it. The digest covers the session id, so that
/// the digests of two sessions cannot be compared.
fn bind_stamp(digest: &[u8; 32], id: &SessionId) -> [u8; STAMP_LEN] {
    let bound = Sha256::new_with_prefix(digest).chain_update(id.as_bytes()).finalize();
    std::array::from_fn(|at| bound[at])
}

/// Returns whether a session accepts a stamp, by its field [`STAMP`].
pub(super) fn accepts_stamp(
    stored: &[u8],
    digest: &[u8; 32],
    id: &SessionId,
) -> Result<bool, CodecError> {
    let stamp = bind_stamp(digest, id);
    // Returns an error instead of `false`: a stamp in the form of a later release must not end the
    // session.
    Ok(codec::unwrap_own(stored)?.chunks(STAMP_LEN).any(|accepted| accepted == stamp))
}

/// Returns the field [`STAMP`] of a session that accepts a second stamp, besides the stamp of its
/// sign-in.
pub(super) fn accept_stamp(
    stored: Option<&Bytes>,
    digest: &[u8; 32],
    id: &SessionId,
) -> Result<Bytes, CodecError> {
    let mut accepted = match stored {
        Some(stored) => codec::unwrap_own(stored)?.to_vec(),
        None => Vec::new(),
    };
    accepted.truncate(STAMP_LEN);
    accepted.extend(bind_stamp(digest, id));
    Ok(codec::wrap_own(&accepted))
}

/// Reads the field [`REMEMBERED`].
pub(in crate::session) fn read_remembered(value: &[u8]) -> Option<Duration> {
    let life = codec::unwrap_own(value).ok()?;
    Some(Duration::from_secs(u64::from_be_bytes(life.try_into().ok()?)))
}
