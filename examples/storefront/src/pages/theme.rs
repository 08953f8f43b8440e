//! Light or dark.

use axum::{
    Form,
    response::{IntoResponse, Redirect},
};
use serde::Deserialize;

use crate::{
    session::{Shop, Theme},
    view::Page,
};

#[derive(Deserialize)]
pub(crate) struct Choice {
    theme: Theme,
}

pub(crate) async fn choose(shop: Shop, Form(choice): Form<Choice>) -> Page {
    shop.set_theme(&choice.theme).await?;
    Ok(Redirect::to("/").into_response())
}
