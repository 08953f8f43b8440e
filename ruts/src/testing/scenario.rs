//! [`SessionSecurity`]: how the checks sign in, sign out and use an application.
//!
//! Made by tests of applications, read by `security`. Knows nothing about rules or reports.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use super::client::{Client, Reply};
use crate::store::memory::ManualClock;

type Action = Arc<dyn Fn(Client) -> Pin<Box<dyn Future<Output = Reply> + Send>> + Send + Sync>;

/// How [`assert_session_security`](crate::testing::assert_session_security) uses an application:
/// its private page, its sign-in and sign-out, and more.
///
/// Some parts are optional. If a rule needs a part that is missing, the report shows the rule as
/// not checked.
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
    /// Describes an application whose page `private` succeeds only for signed-in clients.
    ///
    /// The checks also call `sign_in` and `sign_out` with clients in other states: with a planted
    /// cookie, or not signed in. So both return the reply of the application even if the
    /// application refuses the request. If the forms of the application have CSRF tokens, a closure
    /// reads the token from the page with the form:
    ///
    /// ```
    /// use ruts::testing::{Client, Reply, SessionSecurity};
    ///
    /// async fn submit(client: Client, page: &str) -> Reply {
    ///     let form = client.get(page).await;
    ///     match form.text().split_once("name=\"csrf\" value=\"") {
    ///         Some((_, rest)) => {
    ///             let token = rest.split('"').next().unwrap_or_default();
    ///             client.post(page, &format!("csrf={token}&password=correct")).await
    ///         }
    ///         // The application shows no form in this state.
    ///         None => form,
    ///     }
    /// }
    ///
    /// # fn scenario(client: Client) -> SessionSecurity {
    /// let sign_in = |client| submit(client, "/sign-in");
    /// SessionSecurity::new(client, "/account", sign_in, |client| submit(client, "/sign-out"))
    /// # }
    /// ```
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

    /// Sets how to recognise that the private page was shown. By default, its status is a success.
    #[must_use]
    pub fn private_if(mut self, opens: impl Fn(&Reply) -> bool + Send + Sync + 'static) -> Self {
        self.opens = Arc::new(opens);
        self
    }

    /// Sets a page that all clients may see, and that does not start a session. Defaults to `/`.
    #[must_use]
    pub fn public(mut self, path: &str) -> Self {
        path.clone_into(&mut self.public);
        self
    }

    /// Sets an action that gives a guest a session, such as adding an item to a cart.
    #[must_use]
    pub fn guest<F>(mut self, visit: impl Fn(Client) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        self.visit = Some(action(visit));
        self
    }

    /// Sets the action that signs out all other devices of the user.
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

    /// Sets the action that gives a signed-in user more privileges, such as a check of a second
    /// factor.
    #[must_use]
    pub fn elevate<F>(mut self, elevate: impl Fn(Client) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        self.elevate = Some(action(elevate));
        self
    }

    /// Sets the idle and the absolute timeout of sessions, by the clock of the application's store.
    #[must_use]
    pub fn lifetimes(mut self, clock: &ManualClock, idle: Duration, absolute: Duration) -> Self {
        self.lifetimes = Some(Lifetimes { clock: clock.clone(), idle, absolute });
        self
    }

    /// Sets a page that needs an authentication of at most this age. The check also needs
    /// [`lifetimes`](Self::lifetimes).
    #[must_use]
    pub fn fresh(mut self, path: &str, within: Duration) -> Self {
        self.fresh = Some((path.to_owned(), within));
        self
    }

    /// Sets the maximum number of sessions of a user.
    #[must_use]
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.limit = Some(sessions);
        self
    }

    /// Allows the cookie to outlive the browser.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.is_persistent = true;
        self
    }

    pub(super) async fn sign_in(&self, client: &Client) -> Reply {
        // Otherwise all sign-ins would have the same time, and none would be the oldest.
        if let Some(lifetimes) = &self.lifetimes {
            lifetimes.clock.advance(Duration::from_millis(1));
        }
        (self.sign_in)(client.clone()).await
    }

    pub(super) async fn sign_out(&self, client: &Client) -> Reply {
        (self.sign_out)(client.clone()).await
    }

    /// Returns whether the private page opens for a client.
    pub(super) async fn is_in(&self, client: &Client) -> bool {
        self.opens(&client.get(&self.private).await)
    }

    pub(super) fn opens(&self, reply: &Reply) -> bool {
        (self.opens)(reply)
    }

    /// Signs in with a new client.
    pub(super) async fn member(&self) -> Client {
        self.signed_in().await.0
    }

    /// Signs in with a new client, and returns it with the reply to the sign-in.
    pub(super) async fn signed_in(&self) -> (Client, Reply) {
        let client = self.client.stranger();
        let reply = self.sign_in(&client).await;
        let is_in = self.is_in(&client).await;
        assert!(is_in, "a sign-in should open `{}`: {}", self.private, reply.status);
        (client, reply)
    }
}

impl fmt::Debug for SessionSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSecurity").field("private", &self.private).finish_non_exhaustive()
    }
}
