//! "Your devices": the sessions of the signed-in user.

use askama::Template;
use axum::{
    extract::Path,
    response::{IntoResponse, Redirect},
};
use ruts::{
    Error,
    guard::{Aal, Fresh},
    session::SessionSummary,
    token::SessionId,
};

use crate::{
    session::Shop,
    view::{Frame, Page, html},
};

/// Maximum number of listed devices.
const MAX_LISTED: usize = 50;

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

/// Lists the devices. The guard sends a guest to the sign-in page.
pub(crate) async fn show(Aal(shop): Aal<Shop, 1>) -> Page {
    let frame = Frame::of(&shop).await?;
    let sessions = shop.session().sessions().await?.ok_or(Error::SignInRequired)?;
    let page = sessions.list(Shop::DEVICE, None, MAX_LISTED).await?;
    let own = shop.session().id();
    let mut listed = page.sessions;
    listed.sort_by_key(|session| (Some(session.id) != own, session.meta.idle_for));
    let device = |session: SessionSummary| {
        Ok(Device {
            name: session.fields.read(Shop::DEVICE)?,
            is_this: Some(session.id) == own,
            signed_in: ago(session.meta.signed_in.map_or(session.meta.age, |signed| signed.ago)),
            last_seen: ago(session.meta.idle_for),
            id: session.id,
        })
    };
    let devices = listed.into_iter().map(device).collect::<Result<_, Error>>()?;
    html(&DevicesPage { frame, devices })
}

/// Signs out one device. Requires an authentication in the last half hour (OWASP ASVS 5.0, 7.5.2).
pub(crate) async fn end(Fresh(shop): Fresh<Shop, 30>, Path(id): Path<SessionId>) -> Page {
    let sessions = shop.session().sessions().await?.ok_or(Error::SignInRequired)?;
    // Sessions of other users are not revoked.
    match sessions.revoke(&id).await? {
        _ if shop.session().id() == Some(id) => return Ok(Redirect::to("/").into_response()),
        true => shop.set_flash("That device is signed out.").await?,
        false => shop.set_flash("That device was already signed out.").await?,
    }
    Ok(Redirect::to("/devices").into_response())
}

/// Signs out all other devices. Requires an authentication in the last half hour, too.
pub(crate) async fn end_others(Fresh(shop): Fresh<Shop, 30>) -> Page {
    let message = match shop.session().revoke_others().await? {
        0 => "No other device was signed in.".to_owned(),
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
