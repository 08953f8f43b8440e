//! Pages as HTML, from templates that are checked at compile time.

use askama::Template;
use axum::{
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use ruts::Error;

use crate::session::{Shop, Theme};

/// The part that all pages share.
pub(crate) struct Frame {
    pub(crate) user: Option<String>,
    pub(crate) flash: Option<String>,
    pub(crate) theme: Theme,
    /// Number of items in the cart.
    pub(crate) items: u32,
}

impl Frame {
    /// Reads the frame of a page. Two round trips: one reads the fields, one takes the message.
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

/// A page, or the response to an error.
pub(crate) type Page = Result<Response, Failure>;

pub(crate) fn html(template: &impl Template) -> Page {
    let html = template.render().map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a page cannot be rendered");
        Failure(StatusCode::INTERNAL_SERVER_ERROR)
    })?;
    Ok(Html(html).into_response())
}

/// An error that the visitor cannot correct.
pub(crate) struct Failure(StatusCode);

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage {
    has_ended: bool,
}

impl From<Error> for Failure {
    /// The page shows no details, because the log has them.
    fn from(error: Error) -> Self {
        let has_ended = matches!(error, Error::Ended);
        let status = error.into_response().status();
        Self(if has_ended { StatusCode::CONFLICT } else { status })
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let page = FailurePage { has_ended: self.0 == StatusCode::CONFLICT };
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
