//! [`LoadUser`]: the trait by which an application loads its user for a principal.
//!
//! Called by `load_user` and `CurrentUser`. Knows nothing about axum.

use std::future::Future;

use serde::de::DeserializeOwned;

use super::typed::TypedSession;
use crate::{
    error::Error,
    event,
    field::{Field, Principal},
};

/// Loads the application's user for the signed-in principal.
///
/// Called by [`load_user`] and, for axum handlers, by the extractor `ruts::guard::CurrentUser`.
///
/// ```
/// use ruts::{
///     Error,
///     auth::Assurance,
///     field::{Field, Principal},
///     session,
///     session::LoadUser,
/// };
///
/// #[session]
/// struct Shop {
///     #[field(principal)]
///     user: u64,
/// }
///
/// #[derive(Clone)]
/// struct Account {
///     name: String,
///     password_hash: String,
/// }
///
/// /// A pool of database connections, in a real application.
/// #[derive(Clone)]
/// struct Accounts;
///
/// impl LoadUser for Accounts {
///     type Schema = Shop;
///     type Id = u64;
///     type User = Account;
///     type Error = std::io::Error;
///
///     const PRINCIPAL: Field<u64, Principal> = Shop::USER;
///
///     async fn load(&self, id: u64) -> Result<Option<Account>, std::io::Error> {
///         Ok(Some(Account { name: format!("user {id}"), password_hash: "$argon2id$".to_owned() }))
///     }
///
///     fn stamp(account: &Account) -> Option<&[u8]> {
///         Some(account.password_hash.as_bytes())
///     }
/// }
///
/// /// The password was right.
/// async fn sign_in(shop: Shop, account: Account) -> Result<(), Error> {
///     shop.user().sign_in(&7, Assurance::Aal1).stamp(account.password_hash).await
/// }
/// ```
pub trait LoadUser: Send + Sync + 'static {
    /// The `#[session]` struct.
    type Schema: TypedSession;
    /// Type of the principal field.
    type Id: DeserializeOwned + Send + 'static;
    /// The application's user.
    type User: Clone + Send + Sync + 'static;
    /// Failure of a load.
    type Error: Into<Box<dyn std::error::Error + Send + Sync>>;

    /// The principal field.
    const PRINCIPAL: Field<Self::Id, Principal>;

    /// Loads a user. `None` if the user no longer exists, or may not be signed in.
    fn load(
        &self,
        id: Self::Id,
    ) -> impl Future<Output = Result<Option<Self::User>, Self::Error>> + Send;

    /// Returns the part of a user record whose change ends all earlier sessions, such as the hash
    /// of the password. By default `None`: no change ends a session.
    ///
    /// If this method returns bytes, every sign-in of the user has to pass the same bytes to
    /// [`SignIn::stamp`](super::SignIn::stamp). A session without the stamp ends at the next load.
    /// A handler that changes the stamp calls [`Entry::accept_stamp`](crate::Entry::accept_stamp)
    /// first, so that its own session survives.
    fn stamp(user: &Self::User) -> Option<&[u8]> {
        let _ = user;
        None
    }
}

/// Returns the signed-in user, or `None` for a guest.
///
/// The session ends if the user no longer exists, or has a stamp that the session does not accept.
/// The request then continues as a guest.
///
/// # Round trips
///
/// As many as a read of the principal. If the stamp does not match, one more to read the accepted
/// stamps again, and one to end the session.
///
/// # Errors
///
/// [`Error::LoadUser`], [`Error::Store`], [`Error::Decode`].
pub async fn load_user<L: LoadUser>(
    session: &L::Schema,
    loader: &L,
) -> Result<Option<L::User>, Error> {
    let (schema, session) = (L::Schema::SCHEMA, session.session());
    // Reads the stamp together with the principal, so that comparing the stamp needs no round trip.
    session.read_stamp(schema).await?;
    let Some(id) = session.entry_of(schema, L::PRINCIPAL).await? else { return Ok(None) };
    let user = loader.load(id).await.map_err(|error| Error::LoadUser(error.into()))?;
    let reason = match &user {
        None => "not found",
        Some(user) => match L::stamp(user) {
            Some(stamp) if !session.has_stamp(stamp).await? => "another stamp",
            _ => return Ok(Some(user.clone())),
        },
    };
    event::user_changed(session.id().as_ref(), reason);
    match session.delete().await {
        // Another request has replaced the secret since this request arrived. So this request must
        // not end the session, and continues as a guest.
        Ok(()) | Err(Error::Ended) => Ok(None),
        Err(error) => Err(error),
    }
}
