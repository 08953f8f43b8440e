use crate::token::{SecretHash, SessionId, Token};

/// Who the request is, as far as it is known.
///
/// ```text
/// Presented ──opens──▶ Open ──refused──▶ Closed
///     │                 │
///     │                 └──delete──▶ Ended ──write──▶ Open (a new session)
///     ├──was good until a moment ago──▶ Closed
///     └──unknown──▶ Anonymous ──write──▶ Open (a new session)
/// ```
pub(super) enum Identity {
    /// No token, or one that opens nothing. A write starts a session.
    Anonymous,
    /// A token that the store was not asked about yet, and another one to try if it opens nothing.
    Presented(Token, Option<Token>),
    /// A session that the store confirmed or created.
    Open { id: SessionId, secret: SecretHash },
    /// The session was this request's when it set out, and is not any more. Reads as anonymous, may
    /// not write: the cookie of a new session would overwrite the one that may have followed. That
    /// goes for a session that was open before, and for a token that was good until less than
    /// [`ENDED_RETENTION`](crate::store::ENDED_RETENTION) ago. After that it is a stale or stolen copy, like any unknown
    /// one.
    Closed(Closed),
    /// This request deleted it. A write starts a new session.
    Ended,
}

/// What became of the session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// Another request deleted it.
    Deleted,
    /// Another request replaced its secret.
    Lost,
    /// It was revoked, or its time is over.
    Gone,
}

impl Identity {
    /// What to ask the store of the layer with.
    pub(super) fn credentials(&self, layer: &str) -> Option<(SessionId, SecretHash)> {
        match self {
            Self::Presented(token, _) => Some((token.id, token.secret.hash(layer))),
            Self::Open { id, secret } => Some((*id, *secret)),
            Self::Anonymous | Self::Closed(_) | Self::Ended => None,
        }
    }

    /// What to ask the store with in the second place.
    pub(super) fn other(&self, layer: &str) -> Option<(SessionId, SecretHash)> {
        match self {
            Self::Presented(_, Some(token)) => Some((token.id, token.secret.hash(layer))),
            _ => None,
        }
    }

    /// Which session it is, or may be.
    pub(super) fn id(&self) -> Option<SessionId> {
        match self {
            Self::Presented(token, _) => Some(token.id),
            Self::Open { id, .. } => Some(*id),
            Self::Anonymous | Self::Closed(_) | Self::Ended => None,
        }
    }

    /// Whether there are two tokens, and the store was not asked which of them is good.
    pub(super) fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Presented(_, Some(_)))
    }

    /// Whether there may be a session to ask the store for.
    pub(super) fn may_be_open(&self) -> bool {
        matches!(self, Self::Presented(..) | Self::Open { .. })
    }

    /// Whether somebody who signs in may start a session. There is no cookie to be overwritten of a session
    /// that nothing is known of.
    pub(super) fn may_sign_in(&self) -> bool {
        self.may_create() || matches!(self, Self::Closed(Closed::Gone))
    }

    /// Whether a write may start a session.
    pub(super) fn may_create(&self) -> bool {
        matches!(self, Self::Anonymous | Self::Ended)
    }
}
