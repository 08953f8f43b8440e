//! "Your devices": the sessions of whoever is signed in.

use askama::Template;
use axum::{
    extract::Path,
    response::{IntoResponse, Redirect},
};
use ruts::{Aal, Error, Fresh, SessionId, SessionSummary};

use crate::{
    session::Shop,
    view::{Frame, Page, html},
};

/// More are not shown.
const MOST: usize = 50;

struct Device {
    id: SessionId,
    name: String,
    is_this: bool,
    signed_in: String,
    last_seen: String,
}

#[derive(Template)]
#[template(path = "devices.html")]
struct DevicesPage {
    frame: Frame,
    devices: Vec<Device>,
}

/// Whoever is not signed in is sent to do so.
pub(crate) async fn show(Aal(shop): Aal<Shop, 1>) -> Page {
    let frame = Frame::of(&shop).await?;
    let sessions = shop.session().sessions().await?.ok_or(Error::SignInRequired)?;
    let page = sessions.list(Shop::DEVICE, None, MOST).await?;
    let own = shop.session().id();
    let mut listed = page.sessions;
    listed.sort_by_key(|session| (Some(session.id) != own, session.meta.unused));
    let device = |session: SessionSummary| {
        Ok(Device {
            name: session.fields.read(Shop::DEVICE)?,
            is_this: Some(session.id) == own,
            signed_in: ago(session.meta.signed_in.map_or(session.meta.age, |signed| signed.ago)),
            last_seen: ago(session.meta.unused),
            id: session.id,
        })
    };
    let devices = listed.into_iter().map(device).collect::<Result<_, Error>>()?;
    html(&DevicesPage { frame, devices })
}

/// Needs an authentication of the last half hour (OWASP ASVS 5.0, 7.5.2).
pub(crate) async fn end(Fresh(shop): Fresh<Shop, 30>, Path(id): Path<SessionId>) -> Page {
    let sessions = shop.session().sessions().await?.ok_or(Error::SignInRequired)?;
    // A session of somebody else is left alone.
    match sessions.revoke(&id).await? {
        _ if shop.session().id() == Some(id) => return Ok(Redirect::to("/").into_response()),
        true => shop.set_flash("That device is signed out.").await?,
        false => shop.set_flash("That device was signed out already.").await?,
    }
    Ok(Redirect::to("/devices").into_response())
}

pub(crate) async fn end_others(Fresh(shop): Fresh<Shop, 30>) -> Page {
    let sessions = shop.session().sessions().await?.ok_or(Error::SignInRequired)?;
    let message = match sessions.revoke_others(shop.session()).await? {
        0 => "There was no other device.".to_owned(),
        1 => "One other device is signed out.".to_owned(),
        ended => format!("{ended} other devices are signed out."),
    };
    shop.set_flash(&message).await?;
    Ok(Redirect::to("/devices").into_response())
}

fn ago(time: std::time::Duration) -> String {
    match time.as_secs() {
        0..60 => "just now".to_owned(),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3600),
    }
}
