//! The old program, with tower-sessions.

use axum::{
    Form, Router,
    routing::{get, post},
};
use tower_sessions::{Session, SessionManagerLayer, SessionStore, session::Error};

use super::scenarios::{Item, User, page};

pub(crate) fn program<S: SessionStore + Clone>(store: S) -> Router {
    Router::new()
        .route("/show", get(show))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/add", post(add))
        .route("/set-count", post(set_count))
        .layer(SessionManagerLayer::new(store))
}

async fn cart(session: &Session) -> Result<Vec<String>, Error> {
    Ok(session.get("cart").await?.unwrap_or_default())
}

async fn show(session: Session) -> String {
    page(session.get("user").await.unwrap(), &cart(&session).await.unwrap())
}

async fn sign_in(session: Session, Form(User { name }): Form<User>) {
    session.cycle_id().await.unwrap();
    session.insert("user", name).await.unwrap();
}

async fn sign_out(session: Session) {
    session.flush().await.unwrap();
}

async fn add(session: Session, Form(Item { item }): Form<Item>) {
    let mut cart = cart(&session).await.unwrap();
    cart.push(item);
    session.insert("cart", cart).await.unwrap();
}

/// Writes the cart with a different type.
async fn set_count(session: Session) {
    session.insert("cart", 5).await.unwrap();
}
