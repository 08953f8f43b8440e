//! An echo over a WebSocket. The WebSocket ends with its session: on a sign-out in another tab, on
//! a revocation from another device, or at a deadline. It also ends if another instance handles the
//! sign-out or the revocation.
//!
//! Browsers send the cookie with the request that opens a WebSocket. They do not send it if a page
//! of another site opens the WebSocket, because the cookie is `SameSite=Lax` by default.

use std::{future::Future, pin::pin};

use axum::{
    Form, Router,
    extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    response::Response,
    routing::{any, post},
};
use ruts::{Error, SessionLayer, session, session::SessionChange, store::IntoStore};
use serde::Deserialize;

/// The session of a connected user.
#[session]
pub struct Talk {
    /// The signed-in user.
    #[field(principal)]
    user: String,
}

/// Returns the app with sessions in this store.
pub fn app(store: impl IntoStore) -> Router {
    Router::new()
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/talk", any(talk))
        .layer(SessionLayer::new(store).development())
}

#[derive(Deserialize)]
struct User {
    name: String,
}

async fn sign_in(talk: Talk, Form(User { name }): Form<User>) -> Result<(), Error> {
    talk.set_user(&name).await
}

async fn sign_out(talk: Talk) -> Result<(), Error> {
    talk.session().delete().await
}

async fn talk(talk: Talk, upgrade: WebSocketUpgrade) -> Result<Response, Error> {
    let user = talk.user().await?.ok_or(Error::SignInRequired)?;
    // The watch begins before the response, so that no change after the response is missed.
    let change = talk.session().watch().await?;
    Ok(upgrade.on_upgrade(move |socket| echo(socket, user, change)))
}

/// Answers until the client leaves or the session changes.
async fn echo(mut socket: WebSocket, user: String, change: impl Future<Output = SessionChange>) {
    let mut change = pin!(change);
    loop {
        let message = tokio::select! {
            // The change is polled first, so that no message is answered after the end.
            biased;
            _ = &mut change => {
                let reason = "the session has ended".into();
                let frame = CloseFrame { code: close_code::POLICY, reason };
                // An error is fine: the client has already left.
                let _ = socket.send(Message::Close(Some(frame))).await;
                return;
            }
            message = socket.recv() => message,
        };
        let Some(Ok(message)) = message else { return };
        if let Message::Text(text) = message {
            let answer = Message::Text(format!("{user}: {text}").into());
            if socket.send(answer).await.is_err() {
                return;
            }
        }
    }
}
