use std::time::Duration;

use crate::token::{Handle, SecretHash, Token};

/// How long after a rotation its old secret is taken for a request that was already on its way.
/// Such a request may not start a session: its cookie would overwrite the new one. Later, the old
/// secret is a stale or stolen copy and treated like any unknown one.
pub(super) const LATE: Duration = Duration::from_secs(60);

/// Who the request is, as far as it is known.
///
/// ```text
/// Presented ──opens──▶ Open ──gone──▶ Lost
///     │                 │
///     │                 └──delete──▶ Ended ──write──▶ Open (a new session)
///     ├──just replaced──▶ Late
///     └──unknown──▶ Anonymous ──write──▶ Open (a new session)
/// ```
pub(super) enum Identity {
    /// No token, or one that opens nothing. A write starts a session.
    Anonymous,
    /// A token that the store was not asked about yet.
    Presented(Token),
    /// A session that the store confirmed or created.
    Open { handle: Handle, secret: SecretHash },
    /// The token was replaced a moment ago. Reads as anonymous, may not write.
    Late,
    /// It was open, and another request ended it or took it over. May not write.
    Lost,
    /// This request deleted it. A write starts a new session.
    Ended,
}

impl Identity {
    /// What to ask the store with.
    pub(super) fn credentials(&self) -> Option<(Handle, SecretHash)> {
        match self {
            Self::Presented(token) => Some((token.handle, token.secret.hash())),
            Self::Open { handle, secret } => Some((*handle, *secret)),
            Self::Anonymous | Self::Late | Self::Lost | Self::Ended => None,
        }
    }

    /// Whether a write may start a session.
    pub(super) fn may_create(&self) -> bool {
        matches!(self, Self::Anonymous | Self::Ended)
    }
}
