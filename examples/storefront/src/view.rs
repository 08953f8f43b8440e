//! Pages as HTML: templates that are checked when they are compiled.

use askama::Template;
use axum::{
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use ruts::Error;

use crate::session::{Shop, Theme};

/// What stands on every page.
pub(crate) struct Frame {
    pub(crate) user: Option<String>,
    pub(crate) flash: Option<String>,
    pub(crate) theme: Theme,
    /// How many items are in the cart.
    pub(crate) items: u32,
}

impl Frame {
    /// Two round trips: one reads everything, and one takes the message.
    pub(crate) async fn of(shop: &Shop) -> Result<Self, Error> {
        let (user, theme, cart) =
            shop.session().read((Shop::USER, Shop::THEME, Shop::CART)).await?;
        let flash = shop.flash().take().await?;
        Ok(Self { user, flash, theme, items: cart.values().sum() })
    }

    pub(crate) fn is_dark(&self) -> bool {
        self.theme == Theme::Dark
    }
}

/// A page that was asked for, or what stood in the way.
pub(crate) type Page = Result<Response, Failure>;

pub(crate) fn html(template: &impl Template) -> Page {
    let html = template.render().map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a page cannot be written");
        Failure(StatusCode::INTERNAL_SERVER_ERROR)
    })?;
    Ok(Html(html).into_response())
}

/// Something that a visitor can do nothing about but try again.
pub(crate) struct Failure(StatusCode);

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage {
    is_over: bool,
}

impl From<Error> for Failure {
    /// The details are logged, not told.
    fn from(error: Error) -> Self {
        let is_over = matches!(error, Error::Ended);
        let status = error.into_response().status();
        Self(if is_over { StatusCode::CONFLICT } else { status })
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let page = FailurePage { is_over: self.0 == StatusCode::CONFLICT };
        (self.0, Html(page.render().unwrap_or_default())).into_response()
    }
}

const A_DAY: (header::HeaderName, &str) = (header::CACHE_CONTROL, "public, max-age=86400");

pub(crate) async fn style() -> impl IntoResponse {
    let text = include_str!("../static/style.css");
    ([(header::CONTENT_TYPE, "text/css"), A_DAY], text)
}

pub(crate) async fn script() -> impl IntoResponse {
    let text = include_str!("../static/app.js");
    ([(header::CONTENT_TYPE, "text/javascript"), A_DAY], text)
}
