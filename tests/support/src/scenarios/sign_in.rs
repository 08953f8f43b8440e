//! A shop whose users sign in, list their devices and end sessions.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::Path, routing::get};
use ruts::{
    Error, Session, SessionLayer,
    auth::Assurance,
    guard::{Aal, Fresh},
    session,
    session::TokenStatus,
    store::{Expiry, OnLimit, Store},
    testing::Client,
    token::SessionId,
};

use crate::{ClientExt, new_client};

#[session]
pub struct Shop {
    #[field(principal)]
    user: String,
    #[field(default)]
    cart: u32,
    #[field(default)]
    device: String,
    #[field(rotate)]
    currency: String,
}

async fn sign_in(shop: Shop, Path((user, level)): Path<(String, u8)>) -> Result<(), Error> {
    let assurance = Assurance::from_level(level).expect("the level should be an assurance level");
    shop.user().sign_in(&user, assurance).await
}

/// Returns the user, and the level and age in seconds of the authentication.
pub async fn who(shop: Shop) -> Result<String, Error> {
    let signed_in = shop.session().signed_in().await?;
    let level = signed_in.map(|signed_in| (signed_in.assurance.level(), signed_in.ago.as_secs()));
    Ok(format!("{:?} {level:?}", shop.user().await?))
}

/// Returns the devices of the user, this one first.
async fn devices(shop: Shop) -> Result<String, Error> {
    let Some(sessions) = shop.session().sessions().await? else { return Ok(String::new()) };
    let page = sessions.list(Shop::DEVICE, None, 10).await?;
    let own = shop.session().id();
    let mut devices = Vec::new();
    for session in page.sessions {
        let device = session.fields.read(Shop::DEVICE)?;
        devices.push((Some(session.id) != own, device));
    }
    devices.sort();
    Ok(devices.into_iter().map(|(_, device)| device).collect::<Vec<_>>().join(","))
}

async fn end(shop: Shop, Path(id): Path<SessionId>) -> Result<String, Error> {
    let sessions = shop.session().sessions().await?.ok_or(Error::SignInRequired)?;
    Ok(sessions.revoke(&id).await?.to_string())
}

async fn end_others(shop: Shop) -> Result<String, Error> {
    Ok(shop.session().revoke_others().await?.to_string())
}

/// Returns the routes of the shop.
pub fn routes() -> Router {
    Router::new()
        .route("/sign-in/{user}/{level}", get(sign_in))
        .route("/who", get(who))
        .route("/cart", get(|shop: Shop| async move { shop.set_cart(&1).await }))
        .route("/look", get(|shop: Shop| async move { shop.cart().await.map(|n| n.to_string()) }))
        .route(
            "/device/{name}",
            get(|shop: Shop, Path(name): Path<String>| async move { shop.set_device(&name).await }),
        )
        .route(
            "/currency/{name}",
            get(|shop: Shop, Path(name): Path<String>| async move {
                shop.set_currency(&name).await
            }),
        )
        .route(
            "/currency",
            get(|shop: Shop| async move { shop.currency().await.map(|it| format!("{it:?}")) }),
        )
        .route(
            "/token-status",
            get(|session: Session| async move {
                Ok::<_, Error>(format!("{:?}", session.token_status().await?))
            }),
        )
        .route("/devices", get(devices))
        .route("/end/{id}", get(end))
        .route("/end-others", get(end_others))
        .route("/sign-out", get(|shop: Shop| async move { shop.user().remove().await.map(|_| ()) }))
        .route("/delete", get(|session: Session| async move { session.delete().await }))
        .route("/expire", get(|session: Session| async move { session.expire(3600).await }))
        .route("/fresh", get(|Fresh(shop): Fresh<Shop, 5>| async move { who(shop).await }))
        .route("/aal1", get(|Aal(shop): Aal<Shop, 1>| async move { who(shop).await }))
        .route("/aal2", get(|Aal(shop): Aal<Shop, 2>| async move { who(shop).await }))
        .route("/both", get(|_: Aal<Shop, 2>, Fresh(shop): Fresh<Shop, 5>| who(shop)))
}

/// Returns a new client that is signed in at the first level on a device.
pub async fn signed_in(client: &Client, user: &str, device: &str) -> Client {
    let client = client.stranger();
    client.text(&format!("/sign-in/{user}/1")).await;
    client.text(&format!("/device/{device}")).await;
    client
}

/// Returns the id of the client's session, as text.
pub fn id(client: &Client) -> String {
    client.token().expect("the client should have a session")[..22].to_owned()
}

/// Users sign in, list devices, and end sessions of their own. An administrator ends all sessions.
pub async fn users_and_administrators_end_sessions<S: Store>(store: Arc<S>) {
    let app = routes().layer(SessionLayer::new(&store).max_sessions(5, OnLimit::Reject));
    let client = new_client(app);
    let index = Shop::sessions(&store);
    let guest = client.stranger();
    guest.text("/cart").await;
    let stolen = guest.steal();
    guest.text("/sign-in/ada/2").await;
    assert!(guest.text("/who").await.starts_with("Some(\"ada\") Some((2, "));
    assert_eq!(guest.text("/look").await, "1", "the guest's cart should stay");
    assert_eq!(stolen.text("/who").await, "None None", "the earlier cookie should be refused");
    guest.text("/device/laptop").await;
    let phone = signed_in(&client, "ada", "phone").await;
    let tablet = signed_in(&client, "ada", "tablet").await;
    let bob = signed_in(&client, "bob", "watch").await;
    assert_eq!(guest.text("/devices").await, "laptop,phone,tablet");
    let end_phone = format!("/end/{}", id(&phone));
    assert_eq!(bob.text(&end_phone).await, "false");
    assert_eq!(guest.text(&end_phone).await, "true");
    assert_eq!(phone.text("/who").await, "None None");
    tablet.text("/delete").await;
    let watch = signed_in(&client, "ada", "watch").await;
    assert_eq!(guest.text("/devices").await, "laptop,watch");
    assert_eq!(guest.text("/end-others").await, "1");
    assert_eq!(watch.text("/who").await, "None None");
    assert!(guest.text("/aal2").await.starts_with("Some(\"ada\") Some((2, "));

    assert_eq!(index.by_user("ada").revoke_all().await.unwrap(), 1);
    assert_eq!(guest.text("/who").await, "None None");
    assert!(bob.text("/who").await.starts_with("Some(\"bob\")"));
    let ada = signed_in(&client, "ada", "new").await;
    index.revoke_everyone().await.unwrap();
    for client in [&ada, &bob] {
        assert_eq!(client.text("/who").await, "None None");
    }
    let ada = signed_in(&client, "ada", "newer").await;
    assert_eq!(ada.text("/devices").await, "newer");
}

/// A user whose sessions were revoked signs in immediately, in a browser that still has the cookie.
pub async fn a_revoked_user_signs_in_at_once<S: Store>(store: Arc<S>) {
    let index = Shop::sessions(&store);
    let client = new_client(routes().layer(SessionLayer::new(Arc::clone(&store))));
    let client = signed_in(&client, "eve", "laptop").await;
    index.by_user("eve").revoke_all().await.unwrap();
    let copy = client.steal();
    assert_eq!(copy.text("/who").await, "None None");
    assert_eq!(
        copy.token(),
        client.token(),
        "the invalid cookie should stay, because its removal could remove a newer cookie"
    );
    let former = client.token();
    client.text("/sign-in/eve/1").await;
    assert_ne!(client.token(), former);
    assert!(client.text("/who").await.starts_with("Some(\"eve\") Some((1, "));
}

/// A guest never gets the new secret of a rotation, and signs in with the former one. The sign-in
/// keeps the cart, but not the field whose write caused the rotation.
pub async fn a_guest_keeps_the_cart_of_an_unheard_rotation<S: Store>(store: Arc<S>) {
    let client = new_client(routes().layer(SessionLayer::new(Arc::clone(&store))));
    let [guest, other] = [client.stranger(), client.stranger()];
    for (client, sign_in) in [(&guest, "/sign-in/gil/1"), (&other, "/sign-in/hal/1")] {
        client.text("/cart").await;
        client.text("/device/laptop").await;
        let lost = client.steal();
        lost.text("/currency/EUR").await;
        assert_eq!(client.text("/look").await, "0", "the former secret should be refused");
        client.text(sign_in).await;
        assert_eq!(client.text("/look").await, "1");
        assert_eq!(client.text("/currency").await, "None");
        assert_eq!(
            lost.text("/who").await,
            "None None",
            "the guest's session should stay without a user"
        );
        assert_eq!(lost.text("/currency").await, "Some(\"EUR\")");
    }
    assert_eq!(guest.text("/devices").await, "laptop");

    // A former secret gets no cart after a user has signed in to its session.
    let lost = guest.steal();
    lost.text("/sign-in/gil/1").await;
    guest.text("/sign-in/eve/1").await;
    assert_eq!(guest.text("/look").await, "0");
    assert_eq!(lost.text("/look").await, "1");
}

/// A page reports why its user is signed out. `knows_expiry` is whether the store knows which
/// deadline has passed.
pub async fn a_page_knows_why_its_user_is_signed_out<S: Store>(
    [store, index]: [Arc<S>; 2],
    knows_expiry: bool,
) {
    let (short, long) = (Duration::from_secs(1), Duration::from_secs(3600));
    let client = |idle, absolute| {
        let layer = SessionLayer::new(Arc::clone(&store));
        new_client(routes().layer(layer.idle_timeout(idle).absolute_timeout(absolute)))
    };
    let (idle, aged) = (client(short, long), client(long, short));
    let [ended, revoked] = [client(long, long), client(long, long)];
    for client in [&idle, &aged, &ended, &revoked] {
        client.text("/sign-in/ada/1").await;
    }
    tokio::time::sleep(short * 2).await;
    let by = |expiry| Some(expiry).filter(|_| knows_expiry);
    assert_eq!(
        token_status(&idle).await,
        format!("{:?}", TokenStatus::Expired { by: by(Expiry::Idle) })
    );
    assert_eq!(
        token_status(&aged).await,
        format!("{:?}", TokenStatus::Expired { by: by(Expiry::Absolute) })
    );

    let tab = ended.steal();
    ended.text("/delete").await;
    assert!(token_status(&tab).await.starts_with("Deleted"));
    Shop::sessions(&index).by_user("ada").revoke_all().await.unwrap();
    assert_eq!(token_status(&revoked).await, "Revoked");
    revoked.text("/sign-in/ada/1").await;
    assert_eq!(token_status(&revoked).await, "Live");
    Shop::sessions(&index).revoke_everyone().await.unwrap();
    assert_eq!(
        token_status(&revoked).await,
        "Revoked",
        "the session should have been revoked with all others"
    );
}

async fn token_status(client: &Client) -> String {
    client.text("/token-status").await
}

/// A back-channel logout of an identity provider ends its session on every instance, and no other
/// session.
pub async fn a_back_channel_logout_ends_one_session<S: Store>(stores: [Arc<S>; 2]) {
    let [app, other] = stores
        .each_ref()
        .map(|store| new_client(routes().layer(SessionLayer::new(Arc::clone(store)))));
    // A field holds the provider's session id.
    let work = signed_in(&app, "ada", "sid-1").await;
    let phone = signed_in(&app, "ada", "sid-2").await;
    let on_the_other = other.stranger();
    on_the_other.plant("__Host-id", &work.token().unwrap());
    assert_eq!(on_the_other.text("/look").await, "0");
    assert!(on_the_other.text("/who").await.contains("ada"));

    let sessions = Shop::sessions(&stores[1]).by_user("ada");
    let ended = sessions.revoke_if(Shop::DEVICE, |session| session == "sid-1").await.unwrap();
    assert_eq!(ended, 1);
    for client in [&work, &on_the_other] {
        assert_eq!(client.text("/who").await, "None None");
    }
    assert!(phone.text("/who").await.contains("ada"));
    let again = sessions.revoke_if(Shop::DEVICE, |session| session == "sid-1").await.unwrap();
    assert_eq!(again, 0);
}
