//! [`Seen`]: the ruts session of a request, and the rules of which old session it belongs to.
//!
//! Made and used by `lift`. Knows nothing about stores or cookies.

use ruts::{auth::PrincipalKey, session::TokenStatus, store::SignedIn};

use crate::link::{Link, OldState, SignIn};

/// The session of a request.
pub(crate) struct Seen {
    pub(crate) status: TokenStatus,
    pub(crate) signed_in: Option<SignedIn>,
    /// The sign-in with its time.
    pub(crate) sign_in: Option<SignIn>,
    pub(crate) link: Option<Link>,
}

impl Seen {
    pub(crate) fn is_live(&self) -> bool {
        self.status == TokenStatus::Live
    }

    pub(crate) fn user(&self) -> Option<PrincipalKey> {
        self.signed_in.map(|signed_in| signed_in.principal)
    }

    pub(crate) fn link_to(&self, old_id: &str) -> Option<&Link> {
        self.link.as_ref().filter(|link| link.old.id == old_id)
    }

    /// Returns whether the session was lifted from this state of the old session.
    pub(crate) fn is_lifted(&self, state: &OldState) -> bool {
        self.link.as_ref().is_some_and(|link| link.old == *state)
    }

    /// Returns whether the user has signed in, stepped up or signed out in ruts since the lift. The
    /// old session did not establish this sign-in.
    ///
    /// A lower assurance is not a sign-in: a layer lowers the assurance of a client that has
    /// changed.
    pub(crate) fn has_own_sign_in(&self) -> bool {
        let Some(link) = &self.link else { return false };
        match (link.sign_in, self.signed_in) {
            (None, None) => false,
            (Some(then), Some(now)) => {
                then.principal != *now.principal.as_bytes()
                    || then.level < now.assurance.level()
                    || self.sign_in.is_some_and(|now| !now.is(&then))
            }
            _ => true,
        }
    }

    /// Returns whether a client that has only the cookie of this old session may get the session.
    pub(crate) fn opens_with(&self, old_id: &str) -> bool {
        self.is_live()
            && self.link_to(old_id).is_some_and(|link| link.opens)
            && !self.has_own_sign_in()
    }
}
