//! Sessions are found and ended by the value of a field that is not the principal.

use std::sync::Arc;

use ruts::{
    Error, SessionLayer,
    auth::Assurance,
    session,
    session::SessionSummary,
    store::Store,
    testing::{Client, with_session},
};

#[session]
struct Account {
    #[field(principal)]
    user: u64,
    /// The session of the identity provider.
    #[field(index)]
    sid: String,
    #[field(default)]
    device: String,
}

/// A browser, and the stores of the instances that serve it in turn.
struct Browser<S> {
    client: Client,
    stores: [Arc<S>; 2],
}

impl<S: Store> Browser<S> {
    fn new(stores: &[Arc<S>; 2]) -> Self {
        let layer = SessionLayer::new(Arc::clone(&stores[0]));
        let app = axum::Router::new().layer(layer);
        Self { client: crate::new_client(app), stores: stores.clone() }
    }

    async fn run<F>(&self, act: impl FnOnce(Account) -> F + Send + 'static) -> F::Output
    where
        F: Future<Output: Send + 'static> + Send,
    {
        let layer = SessionLayer::new(Arc::clone(&self.stores[0]));
        with_session(&self.client, &layer, act).await
    }

    async fn sign_in(&self, user: u64, sid: &'static str, device: &'static str) {
        let sign_in = move |account: Account| async move {
            account.edit().user(&user).sid(sid).device(device).commit().await.unwrap();
        };
        self.run(sign_in).await;
    }

    async fn set_sid(&self, sid: &'static str) {
        self.run(move |account: Account| async move { account.set_sid(sid).await.unwrap() }).await;
    }

    async fn user(&self) -> Option<u64> {
        self.run(|account: Account| async move { account.user().await.unwrap() }).await
    }

    /// Returns the devices of the sessions with this `sid`, as another instance finds them.
    async fn found(&self, sid: &str) -> Vec<String> {
        let found = Account::sessions(&self.stores[1]).by_sid(sid);
        let page = found.list(Account::DEVICE, None, 10).await.unwrap();
        assert_eq!(page.next, None);
        let device = |session: &SessionSummary| session.fields.read(Account::DEVICE).unwrap();
        let mut devices: Vec<String> = page.sessions.iter().map(device).collect();
        devices.sort_unstable();
        devices
    }

    async fn revoke(&self, sid: &str) -> usize {
        Account::sessions(&self.stores[1]).by_sid(sid).revoke_all().await.unwrap()
    }
}

/// A session is found by its current value, and not by its former values.
pub async fn sessions_are_found_by_an_indexed_field<S: Store>(stores: [Arc<S>; 2]) {
    let [phone, laptop, guest] = [(); 3].map(|()| Browser::new(&stores));
    phone.sign_in(7, "a", "phone").await;
    laptop.sign_in(7, "b", "laptop").await;
    guest.set_sid("a").await;
    assert_eq!(phone.found("a").await, ["phone"], "a guest should not be found");
    assert_eq!(phone.found("b").await, ["laptop"]);
    assert!(phone.found("c").await.is_empty());

    laptop.set_sid("a").await;
    laptop.set_sid("a").await;
    assert_eq!(phone.found("a").await, ["laptop", "phone"]);
    assert!(phone.found("b").await.is_empty());
    laptop.set_sid("b").await;
    assert_eq!(phone.found("a").await, ["phone"]);
    assert_eq!(phone.found("b").await, ["laptop"]);

    // A sign-in finds what the guest wrote. Its session has a new secret.
    let sign_in =
        |account: Account| async move { account.user().sign_in(&8, Assurance::Aal2).await };
    guest.run(sign_in).await.unwrap();
    assert_eq!(phone.found("a").await, ["", "phone"]);
    let rename = |account: Account| async move {
        account.sid().update(|sid| *sid = Some("c".to_owned())).await.unwrap();
    };
    guest.run(rename).await;
    assert_eq!(phone.found("c").await, [""]);
    guest.run(|account: Account| async move { account.sid().remove().await.unwrap() }).await;
    assert!(phone.found("c").await.is_empty());

    assert_eq!(phone.revoke("b").await, 1);
    assert_eq!(laptop.user().await, None);
    assert_eq!(phone.user().await, Some(7), "the other session of the user should stay");
    assert_eq!(phone.revoke("b").await, 0);

    phone.run(|account: Account| async move { account.session().delete().await.unwrap() }).await;
    assert!(phone.found("a").await.is_empty());
    phone.sign_in(7, "a", "phone again").await;
    assert_eq!(phone.found("a").await, ["phone again"]);
    Account::sessions(&stores[0]).revoke_everyone().await.unwrap();
    assert!(phone.found("a").await.is_empty());
    phone.sign_in(7, "a", "a new phone").await;
    assert_eq!(phone.revoke("a").await, 1);
    assert_eq!(phone.user().await, None);
}

/// Pages are complete, and a job cannot write the field.
pub async fn an_index_has_pages<S: Store>(stores: [Arc<S>; 2]) {
    let mut browsers = Vec::new();
    for user in 0..5 {
        let browser = Browser::new(&stores);
        browser.sign_in(user, "tenant", "one").await;
        browsers.push(browser);
    }
    let tenant = Account::sessions(&stores[1]).by_sid("tenant");
    let (mut after, mut users) = (None, Vec::new());
    loop {
        let page = tenant.list(Account::USER, after, 2).await.unwrap();
        for session in &page.sessions {
            users.push(session.fields.read(Account::USER).unwrap().unwrap());
            let job = Account::sessions(&stores[0]).get(&session.id);
            let refused = job.set_sid("other").await;
            assert!(matches!(refused, Err(Error::NoRequest)), "{refused:?}");
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    users.sort_unstable();
    assert_eq!(users, [0, 1, 2, 3, 4]);
    assert_eq!(tenant.revoke_all().await.unwrap(), 5);
    assert_eq!(tenant.revoke_all().await.unwrap(), 0);
}
