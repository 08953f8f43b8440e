//! The shop that the browser uses, and the requests that it sends: [`routes`], [`Action`].

use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use ruts::{Error, Session, auth::Assurance, session};

#[session]
pub struct Shop {
    #[field(principal)]
    user: u64,
    #[field(default)]
    cart: Vec<String>,
    #[field(once)]
    flash: u64,
    #[field(rotate)]
    currency: u64,
}

/// A request of the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// A page with the user, the cart and a message that is shown once.
    Page,
    /// Adds an item to the cart.
    Add(u64),
    /// Sets the field that replaces the secret.
    Choose(u64),
    /// Signs a user in. `flash` is the message of the next page.
    SignIn { user: u64, flash: u64 },
    /// Authenticates the signed-in user at a higher level.
    StepUp { flash: u64 },
    /// Deletes the session.
    SignOut,
}

impl Action {
    pub(super) fn path(self) -> String {
        match self {
            Self::Page => "/page".to_owned(),
            Self::Add(item) => format!("/add/{item}"),
            Self::Choose(currency) => format!("/choose/{currency}"),
            Self::SignIn { user, flash } => format!("/sign-in/{user}/{flash}"),
            Self::StepUp { flash } => format!("/step-up/{flash}"),
            Self::SignOut => "/sign-out".to_owned(),
        }
    }

    /// Returns whether this action may rotate a secret or end a session.
    pub(super) fn changes_identity(self) -> bool {
        !matches!(self, Self::Page | Self::Add(_))
    }
}

/// Returns the name of an owner of items.
pub(super) fn name(user: Option<u64>) -> String {
    user.map_or_else(|| "guest".to_owned(), |user| user.to_string())
}

async fn page(shop: Shop) -> Result<String, Error> {
    let user = shop.user().await?.map(|user| user.to_string()).unwrap_or_default();
    let cart = shop.cart().await?.join(",");
    let flash = shop.flash().take().await?.map(|flash| flash.to_string()).unwrap_or_default();
    Ok(format!("{user}|{cart}|{flash}"))
}

async fn add(shop: Shop, Path(item): Path<u64>) -> Result<String, Error> {
    let entry = format!("{item}@{}", name(shop.user().await?));
    shop.cart().update(|cart| cart.push(entry.clone())).await?;
    Ok(entry)
}

async fn sign_in(shop: Shop, Path((user, flash)): Path<(u64, u64)>) -> Result<Redirect, Error> {
    shop.edit().user(&user).flash(&flash).commit().await?;
    Ok(Redirect::to("/page"))
}

async fn step_up(shop: Shop, Path(flash): Path<u64>) -> Result<Response, Error> {
    let Some(user) = shop.user().await? else {
        return Ok(StatusCode::UNAUTHORIZED.into_response());
    };
    let edit = shop.session().edit().set(Shop::USER, &user).set(Shop::FLASH, &flash);
    edit.assurance(Assurance::Aal2).commit().await?;
    Ok(Redirect::to("/page").into_response())
}

/// Returns the routes of the shop.
pub(super) fn routes() -> Router {
    Router::new()
        .route("/page", get(page))
        .route("/add/{item}", post(add))
        .route(
            "/choose/{currency}",
            post(|shop: Shop, Path(currency): Path<u64>| async move {
                shop.set_currency(&currency).await
            }),
        )
        .route("/sign-in/{user}/{flash}", post(sign_in))
        .route("/step-up/{flash}", post(step_up))
        .route("/sign-out", post(|session: Session| async move { session.delete().await }))
        .route("/expire", post(|session: Session| async move { session.expire(1).await }))
}
