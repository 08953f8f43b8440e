use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use super::{Client, Reply, Report, security};
use crate::store::memory::ManualClock;

type Action = Arc<dyn Fn(Client) -> Pin<Box<dyn Future<Output = Reply> + Send>> + Send + Sync>;

/// How an application is used, for [`assert_session_security`](super::assert_session_security): which page
/// is for those who are signed in, and how one signs in and out.
///
/// What is not told is not checked, and the report says so.
#[derive(Clone)]
pub struct SessionSecurity {
    pub(super) client: Client,
    pub(super) private: String,
    opens: Arc<dyn Fn(&Reply) -> bool + Send + Sync>,
    sign_in: Action,
    sign_out: Action,
    pub(super) public: String,
    pub(super) visit: Option<Action>,
    pub(super) sign_out_others: Option<Action>,
    pub(super) elevate: Option<Action>,
    pub(super) lifetimes: Option<Lifetimes>,
    pub(super) fresh: Option<(String, Duration)>,
    pub(super) limit: Option<usize>,
    pub(super) is_persistent: bool,
}

#[derive(Clone)]
pub(super) struct Lifetimes {
    pub(super) clock: ManualClock,
    pub(super) idle: Duration,
    pub(super) absolute: Duration,
}

fn action<F>(action: impl Fn(Client) -> F + Send + Sync + 'static) -> Action
where
    F: Future<Output = Reply> + Send + 'static,
{
    Arc::new(move |client| Box::pin(action(client)))
}

impl SessionSecurity {
    /// An application whose page `private` answers with success to those who are signed in and to nobody
    /// else.
    pub fn new<I, O>(
        client: Client,
        private: &str,
        sign_in: impl Fn(Client) -> I + Send + Sync + 'static,
        sign_out: impl Fn(Client) -> O + Send + Sync + 'static,
    ) -> Self
    where
        I: Future<Output = Reply> + Send + 'static,
        O: Future<Output = Reply> + Send + 'static,
    {
        Self {
            client,
            private: private.to_owned(),
            opens: Arc::new(|reply| reply.status.is_success()),
            sign_in: action(sign_in),
            sign_out: action(sign_out),
            public: "/".to_owned(),
            visit: None,
            sign_out_others: None,
            elevate: None,
            lifetimes: None,
            fresh: None,
            limit: None,
            is_persistent: false,
        }
    }

    /// How to tell that the private page was shown, if its status does not.
    #[must_use]
    pub fn private_if(mut self, opens: impl Fn(&Reply) -> bool + Send + Sync + 'static) -> Self {
        self.opens = Arc::new(opens);
        self
    }

    /// A page for everybody, whose visit starts no session: `/` unless told otherwise.
    #[must_use]
    pub fn public(mut self, path: &str) -> Self {
        path.clone_into(&mut self.public);
        self
    }

    /// What gives a guest a session, such as putting something into the cart.
    #[must_use]
    pub fn guest<F>(mut self, visit: impl Fn(Client) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        self.visit = Some(action(visit));
        self
    }

    /// How one signs out on all other devices.
    #[must_use]
    pub fn sign_out_others<F>(
        mut self,
        others: impl Fn(Client) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        self.sign_out_others = Some(action(others));
        self
    }

    /// How somebody who is signed in gets more rights, such as by a second factor.
    #[must_use]
    pub fn elevate<F>(mut self, elevate: impl Fn(Client) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        self.elevate = Some(action(elevate));
        self
    }

    /// When sessions end: without use, and in any case, by the clock of the application's store.
    #[must_use]
    pub fn lifetimes(mut self, clock: &ManualClock, idle: Duration, absolute: Duration) -> Self {
        self.lifetimes = Some(Lifetimes { clock: clock.clone(), idle, absolute });
        self
    }

    /// A page that needs an authentication of at most this age. Needs [`lifetimes`](Self::lifetimes) too.
    #[must_use]
    pub fn fresh(mut self, path: &str, within: Duration) -> Self {
        self.fresh = Some((path.to_owned(), within));
        self
    }

    /// How many sessions one may have at a time.
    #[must_use]
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.limit = Some(sessions);
        self
    }

    /// The cookie outlives the browser on purpose.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.is_persistent = true;
        self
    }

    /// Runs all checks.
    ///
    /// # Panics
    ///
    /// Signing in does not open the private page, or the application fails.
    pub async fn check(&self) -> Report {
        security::check(self).await
    }

    pub(super) async fn sign_in(&self, client: &Client) -> Reply {
        // Or no sign-in would be older than another.
        if let Some(lifetimes) = &self.lifetimes {
            lifetimes.clock.advance(Duration::from_millis(1));
        }
        (self.sign_in)(client.clone()).await
    }

    pub(super) async fn sign_out(&self, client: &Client) -> Reply {
        (self.sign_out)(client.clone()).await
    }

    /// Whether the client is shown the private page.
    pub(super) async fn is_in(&self, client: &Client) -> bool {
        self.opens(&client.get(&self.private).await)
    }

    pub(super) fn opens(&self, reply: &Reply) -> bool {
        (self.opens)(reply)
    }

    /// A client that has just signed in.
    pub(super) async fn member(&self) -> Client {
        let client = self.client.stranger();
        let reply = self.sign_in(&client).await;
        let is_in = self.is_in(&client).await;
        assert!(is_in, "signing in does not open `{}`: {}", self.private, reply.status);
        client
    }
}

impl fmt::Debug for SessionSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSecurity").field("private", &self.private).finish_non_exhaustive()
    }
}
