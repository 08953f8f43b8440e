//! A letter that is written in parts. Saved parts survive restarts of the app.

use axum::{
    Form, Router,
    response::Redirect,
    routing::{get, post},
};
use ruts::{Error, SessionLayer, session, store::Store};
use serde::Deserialize;

/// A writer and the parts of the letter.
#[session]
pub struct Writer {
    #[field(ttl = "30d", default)]
    recipient: String,
    #[field(ttl = "30d", default)]
    text: String,
    /// The confirmation, shown once.
    #[field(ttl = "10m", once)]
    receipt: String,
}

/// Returns the app with sessions in this store.
pub fn app(store: impl Store) -> Router {
    Router::new()
        .route("/", get(letter))
        .route("/save", post(save))
        .route("/send", post(send))
        .layer(SessionLayer::new(store).development())
}

async fn letter(writer: Writer) -> Result<String, Error> {
    if let Some(receipt) = writer.receipt().take().await? {
        return Ok(receipt);
    }
    // One round trip reads both fields.
    let (recipient, text) = writer.session().read((Writer::RECIPIENT, Writer::TEXT)).await?;
    Ok(format!("Dear {recipient},\n{text}\n"))
}

#[derive(Deserialize)]
struct Parts {
    recipient: Option<String>,
    text: Option<String>,
}

/// Saves the parts of a form in one write. If two tabs save different parts, both parts are kept.
async fn save(writer: Writer, Form(parts): Form<Parts>) -> Result<Redirect, Error> {
    let mut edit = writer.edit();
    if let Some(recipient) = &parts.recipient {
        edit = edit.recipient(recipient);
    }
    if let Some(text) = &parts.text {
        edit = edit.text(text);
    }
    edit.commit().await?;
    Ok(Redirect::to("/"))
}

async fn send(writer: Writer) -> Result<Redirect, Error> {
    // Only one of two clicks gets the recipient.
    let Some(recipient) = writer.recipient().take().await? else { return Ok(Redirect::to("/")) };
    // Removes the text and writes the receipt, or does nothing.
    writer
        .edit()
        .remove_text()
        .receipt(&format!("The letter to {recipient} is on its way.\n"))
        .commit()
        .await?;
    Ok(Redirect::to("/"))
}
