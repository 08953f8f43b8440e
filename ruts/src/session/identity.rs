use crate::token::{Handle, SecretHash, Token};

/// Who the request is, as far as it is known.
///
/// ```text
/// Presented ──opens──▶ Open ──gone──▶ Lost
///     │                 │
///     │                 └──delete──▶ Ended ──write──▶ Open (a new session)
///     ├──just replaced or ended──▶ Late
///     └──unknown──▶ Anonymous ──write──▶ Open (a new session)
/// ```
pub(super) enum Identity {
    /// No token, or one that opens nothing. A write starts a session.
    Anonymous,
    /// A token that the store was not asked about yet.
    Presented(Token),
    /// A session that the store confirmed or created.
    Open { handle: Handle, secret: SecretHash },
    /// The token was good until a moment ago, so the request was already on its way. Reads as
    /// anonymous, may not write: the cookie of a new session would overwrite the one that may have
    /// followed. After [`LATE`](crate::store::LATE) it is a stale or stolen copy, like any unknown
    /// one.
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
