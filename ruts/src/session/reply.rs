use crate::token::{Handle, Token};

/// What the response has to do about the cookie.
pub(crate) enum Verdict {
    /// Nothing: the client's copy is right, or there is no session.
    Keep,
    /// Hand out this token.
    Set(Token),
    /// Take the cookie away.
    Clear,
}

/// The part of a session's state that is read and changed without waiting for the store.
pub(super) struct Reply {
    pub(super) verdict: Verdict,
    /// The session in use, once the store has confirmed it.
    pub(super) handle: Option<Handle>,
    /// The next write has to replace the secret.
    pub(super) rotate: bool,
    /// The response is on its way: no cookie can be added.
    pub(super) sent: bool,
}
