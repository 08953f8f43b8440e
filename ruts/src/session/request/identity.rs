//! [`Identity`]: what a request knows about its session: an unchecked token, a confirmed session,
//! or none.
//!
//! Owned by `state`, changed by `exchange` and `transfer`. Knows only tokens, and makes no store
//! call.

use crate::token::{CookieLife, SecretHash, SessionId, Token};

/// The identity of a request, as far as it is known.
///
/// ```text
/// Presented ──accepted──▶ Confirmed ──refused──▶ Lost
///     │                      │
///     │                      └──deletes──▶ Ended ──writes──▶ Confirmed (a new session)
///     ├──late──▶ Lost ──signs in──▶ Confirmed (a new session)
///     └──refused──▶ Anonymous ──writes──▶ Confirmed (a new session)
/// ```
pub(super) enum Identity {
    /// There was no token, or the token was not accepted. A write starts a session.
    Anonymous,
    /// A token that the store has not checked yet, and others to try if it is refused.
    Presented(Token, Vec<Token>),
    /// A session that the store confirmed or created.
    Confirmed { id: SessionId, secret: SecretHash, cookie_life: CookieLife, is_successor: bool },
    /// The credentials were valid when the client sent the request, but no longer are. Either this
    /// request has used the session before, or it is [late](super::exchange::IN_TRANSIT). Reads
    /// find nothing. Writes are refused, because the cookie of a new session could overwrite a
    /// newer cookie. A sign-in is not refused: it proves who the principal is, and starts a
    /// session.
    Lost(LostReason),
    /// This request deleted its session. A write starts a new session.
    Ended,
    /// A session on which a job of this process works. There is no request, and no secret.
    Internal(SessionId),
}

/// The reason why the credentials of a request are no longer valid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LostReason {
    /// Another request deleted the session.
    Deleted,
    /// Another request replaced the secret.
    Replaced,
    /// The session was revoked.
    Revoked,
    /// The session has expired, or the store does not know the secret.
    NotFound,
}

impl Identity {
    /// Returns the credentials to present to the store. The hash of the secret covers `layer`.
    pub(super) fn credentials(&self, layer: &str) -> Option<(SessionId, SecretHash)> {
        match self {
            Self::Presented(token, _) => Some((token.id, token.secret.hash(layer))),
            Self::Confirmed { id, secret, .. } => Some((*id, *secret)),
            Self::Anonymous | Self::Lost(_) | Self::Ended | Self::Internal(_) => None,
        }
    }

    /// Returns the lifetime of the cookie that the client presented or will get.
    pub(super) fn cookie_life(&self) -> CookieLife {
        match self {
            Self::Presented(token, _) => token.secret.life(),
            Self::Confirmed { cookie_life, .. } => *cookie_life,
            Self::Anonymous | Self::Lost(_) | Self::Ended | Self::Internal(_) => {
                CookieLife::Default
            }
        }
    }

    /// Returns whether the session is a [successor](super::former_token).
    pub(super) fn is_successor(&self) -> bool {
        match self {
            Self::Presented(token, _) => token.secret.is_successor(),
            Self::Confirmed { is_successor, .. } => *is_successor,
            Self::Anonymous | Self::Lost(_) | Self::Ended | Self::Internal(_) => false,
        }
    }

    /// Sets whether the next secret of the session has the mark of a successor.
    pub(super) fn set_successor(&mut self, is_marked: bool) {
        if let Self::Confirmed { is_successor, .. } = self {
            *is_successor = is_marked;
        }
    }

    /// Returns the id of the session. If it is not known yet, returns the id in the first token.
    pub(super) fn id(&self) -> Option<SessionId> {
        match self {
            Self::Presented(token, _) => Some(token.id),
            Self::Confirmed { id, .. } | Self::Internal(id) => Some(*id),
            Self::Anonymous | Self::Lost(_) | Self::Ended => None,
        }
    }

    /// Returns the tokens among which the store has to choose. Empty if there is at most one token,
    /// or if the store was already asked.
    pub(super) fn candidates(&self) -> Vec<&Token> {
        match self {
            Self::Presented(first, others) if !others.is_empty() => {
                [first].into_iter().chain(others).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Keeps only the token at the index `at` of [`candidates`](Self::candidates).
    pub(super) fn choose(&mut self, at: usize) {
        if let Self::Presented(first, others) = self {
            let others = std::mem::take(others);
            if let Some(chosen) = at.checked_sub(1).and_then(|at| others.into_iter().nth(at)) {
                *first = chosen;
            }
        }
    }

    /// Returns whether the store may have a live session of this identity.
    pub(super) fn may_be_live(&self) -> bool {
        matches!(self, Self::Presented(..) | Self::Confirmed { .. } | Self::Internal(_))
    }

    /// Returns whether a write may start a session.
    pub(super) fn may_create(&self) -> bool {
        matches!(self, Self::Anonymous | Self::Ended)
    }
}

impl LostReason {
    /// Returns whether the client may have lost a response with a newer token.
    pub(super) fn may_be_lost(self) -> bool {
        matches!(self, Self::Replaced | Self::Revoked)
    }
}
