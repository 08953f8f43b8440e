//! The light and the dark theme.

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
pub(crate) struct ThemeForm {
    theme: Theme,
}

pub(crate) async fn choose(shop: Shop, Form(form): Form<ThemeForm>) -> Page {
    shop.set_theme(&form.theme).await?;
    Ok(Redirect::to("/").into_response())
}
