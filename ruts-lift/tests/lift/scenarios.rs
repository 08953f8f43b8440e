//! Scenarios for every old library: users switch between an old and a new program.
//!
//! Used with the tower-sessions memory store here, and by `tests/lift` of the repository with each
//! published library over its servers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Form, Router,
    routing::{get, post},
};
use ruts::{
    Session, SessionLayer,
    auth::Assurance,
    session,
    store::{IntoStore, Store},
    testing::Client,
};
use ruts_lift::{Error, LiftLayer, OldCookie, OldSession, OldSessions};
use serde::Deserialize;

/// The session of the new program.
#[session]
pub(crate) struct Shop {
    #[field(principal)]
    user: String,
    #[field(default)]
    cart: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct User {
    pub name: String,
}

#[derive(Deserialize)]
pub(crate) struct Item {
    pub item: String,
}

/// Returns the page of both programs.
pub(crate) fn page(user: Option<String>, cart: &[String]) -> String {
    format!("{}: {}", user.as_deref().unwrap_or("guest"), cart.join(","))
}

/// The old and the new program, with the sessions of both.
pub(crate) struct Programs<S> {
    /// Serves `/old`, `/both` and, after the rollout, `/last`.
    pub app: Router,
    /// Store of the new program.
    pub store: Arc<S>,
    /// Name of the old cookie.
    pub cookie: &'static str,
    /// Number of calls of the lift function.
    pub lifts: Arc<AtomicUsize>,
    /// The old program reads its store at every request, and keeps no copies.
    pub old_reads_store: bool,
}

/// Returns the new program without the lift layer.
pub(crate) fn shop(sessions: SessionLayer) -> Router {
    Router::new()
        .route("/show", get(show))
        .route("/sign-in", post(sign_in))
        .route("/step-up", post(step_up))
        .route("/sign-out", post(sign_out))
        .route("/add", post(add))
        .layer(sessions)
}

async fn show(shop: Shop) -> Result<String, ruts::Error> {
    let (user, cart) = (shop.user().await?, shop.cart().await?);
    Ok(page(user, &cart))
}

async fn sign_in(shop: Shop, Form(User { name }): Form<User>) -> Result<(), ruts::Error> {
    shop.set_user(&name).await
}

async fn step_up(shop: Shop, Form(User { name }): Form<User>) -> Result<(), ruts::Error> {
    shop.user().sign_in(&name, Assurance::Aal2).await
}

async fn sign_out(shop: Shop) -> Result<(), ruts::Error> {
    shop.session().delete().await
}

async fn add(shop: Shop, Form(Item { item }): Form<Item>) -> Result<(), ruts::Error> {
    shop.cart().update(|cart| cart.push(item.clone())).await
}

/// The lift function of the new program.
pub(crate) async fn lift(old: OldSession, session: Session) -> Result<(), Error> {
    let shop = Shop::try_from(session)?;
    if let Some(user) = old.changed::<String>("user")? {
        shop.set_user(&user).await?;
    }
    if let Some(items) = old.changed::<Vec<String>>("cart")? {
        let merge = |cart: &mut Vec<String>| {
            for item in &items {
                if !cart.contains(item) {
                    cart.push(item.clone());
                }
            }
        };
        shop.cart().update(merge).await?;
    }
    Ok(())
}

impl<S: Store> Programs<S> {
    pub(crate) fn new<O: OldSessions + Clone>(
        store: impl IntoStore<Store = S>,
        old_program: Router,
        cookie: &'static str,
        old: O,
    ) -> Self {
        let (store, lifts) = (store.into_store(), Arc::new(AtomicUsize::new(0)));
        let counted = |lifts: &Arc<AtomicUsize>| {
            let lifts = Arc::clone(lifts);
            move |old, session| {
                lifts.fetch_add(1, Ordering::SeqCst);
                lift(old, session)
            }
        };
        let sessions = SessionLayer::new(&store);
        let old_cookie = OldCookie::new(cookie);
        let both = LiftLayer::during_rollout(
            &sessions,
            &store,
            old_cookie.clone(),
            old.clone(),
            counted(&lifts),
        );
        let last = LiftLayer::after_rollout(&sessions, &store, old_cookie, old, counted(&lifts));
        let app = Router::new()
            .nest("/old", old_program)
            .nest("/both", shop(sessions.clone()).layer(both))
            .nest("/last", shop(sessions).layer(last));
        Self { app, store, cookie, lifts, old_reads_store: true }
    }

    pub(crate) fn lifts(&self) -> usize {
        self.lifts.load(Ordering::SeqCst)
    }

    pub(crate) async fn live_sessions(&self) -> usize {
        let sessions = Shop::sessions(&self.store).by_user("ada");
        sessions.list((), None, 100).await.unwrap().sessions.len()
    }

    /// Runs every scenario.
    pub(crate) async fn check(&self) {
        self.writes_of_both_sides_are_kept().await;
        self.a_guest_who_signs_in_keeps_the_cart().await;
        self.a_sign_out_in_the_new_program_ends_the_old_session().await;
        self.a_sign_out_in_the_old_program_ends_the_new_session().await;
        self.a_revocation_ends_the_old_session().await;
        self.the_end_of_all_sessions_ends_the_old_session().await;
        self.a_lost_response_costs_nothing().await;
        self.a_stranger_is_left_alone().await;
    }

    async fn ada(&self) -> Client {
        Shop::sessions(&self.store).by_user("ada").revoke_all().await.unwrap();
        let client = Client::new(self.app.clone());
        post_to(&client, "/old/sign-in", "name=ada").await;
        post_to(&client, "/old/add", "item=a").await;
        expect(&client, "/old/show", "ada: a").await;
        client
    }

    async fn writes_of_both_sides_are_kept(&self) {
        let client = self.ada().await;
        let before = self.lifts();
        expect(&client, "/both/show", "ada: a").await;
        assert_eq!(self.lifts(), before + 1);
        expect(&client, "/both/show", "ada: a").await;
        assert_eq!(self.lifts(), before + 1, "an unchanged session should not be lifted again");

        post_to(&client, "/both/add", "item=b").await;
        post_to(&client, "/old/add", "item=c").await;
        expect(&client, "/both/show", "ada: a,b,c").await;
        // The old program does not see the writes of the new one, and does not undo them.
        expect(&client, "/old/show", "ada: a,c").await;
        assert_eq!(self.lifts(), before + 2);

        // Writes of both sides at the same time.
        let mut all = "ada: a,b,c".to_owned();
        for round in 0..8 {
            let (one, other) = (format!("item=old{round}"), format!("item=new{round}"));
            tokio::join!(post_to(&client, "/old/add", &one), post_to(&client, "/both/add", &other));
            all = client.get("/both/show").await.text();
            for item in [&one, &other] {
                let item = item.trim_start_matches("item=");
                assert!(all.contains(item), "{item} should still be in the cart: {all}");
            }
        }

        // The last write of the old program before it is stopped.
        post_to(&client, "/old/add", "item=z").await;
        expect(&client, "/last/show", &format!("{all},z")).await;
        assert!(client.cookie(self.cookie).is_none(), "the old cookie should be removed");
        expect(&client, "/last/show", &format!("{all},z")).await;
        expect(&client, "/both/show", &format!("{all},z")).await;
        assert_eq!(self.live_sessions().await, 1);
    }

    async fn a_guest_who_signs_in_keeps_the_cart(&self) {
        let client = Client::new(self.app.clone());
        post_to(&client, "/old/add", "item=a").await;
        expect(&client, "/both/show", "guest: a").await;
        post_to(&client, "/both/add", "item=b").await;
        // The old library gives the session a different id.
        post_to(&client, "/old/sign-in", "name=ada").await;
        expect(&client, "/both/show", "ada: a,b").await;
        expect(&client, "/last/show", "ada: a,b").await;
    }

    async fn a_sign_out_in_the_new_program_ends_the_old_session(&self) {
        let client = self.ada().await;
        expect(&client, "/both/show", "ada: a").await;
        let thief = client.steal();
        post_to(&client, "/both/sign-out", "").await;
        assert_eq!(client.cookies(), [] as [&str; 0]);
        if self.old_reads_store {
            expect(&thief, "/old/show", "guest: ").await;
        }
        expect(&thief, "/both/show", "guest: ").await;
        expect(&thief, "/last/show", "guest: ").await;
    }

    async fn a_sign_out_in_the_old_program_ends_the_new_session(&self) {
        for path in ["/both/show", "/last/show"] {
            let client = self.ada().await;
            expect(&client, "/both/show", "ada: a").await;
            let thief = client.steal();
            post_to(&client, "/old/sign-out", "").await;
            expect(&thief, path, "guest: ").await;
            expect(&client, "/both/show", "guest: ").await;
            assert_eq!(self.live_sessions().await, 0);
        }
    }

    async fn a_revocation_ends_the_old_session(&self) {
        let client = self.ada().await;
        expect(&client, "/both/show", "ada: a").await;
        assert_eq!(Shop::sessions(&self.store).by_user("ada").revoke_all().await.unwrap(), 1);
        let thief = client.steal();
        expect(&client, "/both/show", "guest: ").await;
        if self.old_reads_store {
            expect(&thief, "/old/show", "guest: ").await;
        }
    }

    async fn the_end_of_all_sessions_ends_the_old_session(&self) {
        for is_listed in [false, true] {
            let client = self.ada().await;
            expect(&client, "/both/show", "ada: a").await;
            if is_listed {
                let sessions = Shop::sessions(&self.store).by_user("ada");
                assert_eq!(sessions.revoke_all().await.unwrap(), 1);
            }
            Shop::sessions(&self.store).revoke_everyone().await.unwrap();
            let (thief, before) = (client.steal(), self.lifts());
            expect(&client, "/both/show", "guest: ").await;
            expect(&client, "/both/show", "guest: ").await;
            if self.old_reads_store {
                expect(&thief, "/old/show", "guest: ").await;
            }
            assert_eq!(self.lifts(), before, "the session should not be lifted again");
        }
    }

    async fn a_lost_response_costs_nothing(&self) {
        for program in ["both", "last"] {
            let client = self.ada().await;
            // Three copies of the client, each with only the old cookie.
            let before = self.lifts();
            let tabs = [client.steal(), client.steal(), client.steal()];
            for (at, tab) in tabs.iter().enumerate() {
                post_to(tab, &format!("/{program}/add"), &format!("item={at}")).await;
            }
            expect(&tabs[2], &format!("/{program}/show"), "ada: a,0,1,2").await;
            assert_eq!(self.lifts(), before + 1);
            assert_eq!(self.live_sessions().await, 1);
        }
    }

    async fn a_stranger_is_left_alone(&self) {
        let client = Client::new(self.app.clone());
        let before = self.lifts();
        for value in ["", "none", "a.b", "AAAAAAAAAAAAAAAAAAAAAA", "%00%ff", "\"x\""] {
            client.plant(self.cookie, value);
            for path in ["/both/show", "/last/show"] {
                expect(&client, path, "guest: ").await;
            }
        }
        assert_eq!(self.lifts(), before);
    }
}

pub(crate) async fn post_to(client: &Client, path: &str, form: &str) {
    let reply = client.post(path, form).await;
    assert!(reply.status.is_success(), "{path} {form}: {reply:?}");
}

#[track_caller]
pub(crate) fn expect<'a>(
    client: &'a Client,
    path: &'a str,
    text: &'a str,
) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let reply = client.get(path).await;
        assert!(reply.status.is_success(), "{caller}: {path}: {reply:?}");
        assert_eq!(reply.text(), text, "{caller}: {path}");
    }
}
