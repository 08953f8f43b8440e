//! A browser with several tabs, on a network that loses every second answer.
//!
//! A random script clicks twice, goes back to older forms, has slow requests and slow answers, and
//! stays away until its session expires. The `model` has to allow every answer.

mod model;
mod request;

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use ruts::{
    SessionLayer,
    store::Store,
    testing::{Client, Reply},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

pub use self::request::Shop;
use self::{
    model::{Cookie, Model, Opens, Sent, cookie, id},
    request::{Action, routes},
};
use crate::{ClientExt, Pace, PacedStore, Random, Span, Stop, Time};

/// The age at which a secret is renewed, and the grace period of the former one.
const RENEWAL: Duration = Duration::from_secs(1);
const RENEWAL_GRACE: Duration = Duration::from_secs(30);

/// Idle timeout, longer than all sleeps of a script except the one that lets the sessions expire.
const IDLE: Duration = Duration::from_secs(24 * 3600);

/// Longer than the five seconds in which a request counts as late.
const LONG_AGO: Duration = Duration::from_secs(6);

const TABS: usize = 3;
const USERS: [u64; 2] = [7, 8];

/// Number of steps, and maximum number of sleeps in real time.
const STEPS: usize = 300;
const SLEEPS: usize = 2;

/// A request that the server or the network has not finished.
enum Waiting {
    /// It has stopped at a store call.
    OnServer(Sent, Stop, JoinHandle<Reply>),
    /// The server has answered. The response has not arrived.
    OnNetwork(Cookie),
}

#[derive(Default)]
struct Tab {
    /// Items that the forms of its pages add. The latest page has the last one.
    forms: Vec<u64>,
    waiting: Option<Waiting>,
}

struct Browser {
    random: Random,
    /// The cookies of the browser. A request gets a copy, since the script decides when an answer
    /// arrives.
    jar: Client,
    tabs: [Tab; TABS],
    model: Model,
    /// The number of the latest item or message.
    latest: u64,
    /// A request that was refused as late, and its token.
    refused: Option<(Action, Option<String>)>,
}

impl Browser {
    fn token(&self) -> Option<String> {
        self.jar.token()
    }

    fn next(&mut self) -> u64 {
        self.latest += 1;
        self.latest
    }

    fn action(&mut self, tab: usize) -> Action {
        match self.random.below(100) {
            0..32 => Action::Page,
            32..56 => match self.random.choose(&self.tabs[tab].forms) {
                // The user goes back to an older page, and sends its form again.
                Some(item) if self.random.clone().percent(30) => Action::Add(*item),
                _ => Action::Add(self.next()),
            },
            56..76 => {
                let user = USERS[self.random.below(USERS.len())];
                Action::SignIn { user, flash: self.next() }
            }
            76..84 => Action::StepUp { flash: self.next() },
            84..90 => Action::SignOut,
            _ => Action::Choose(self.next()),
        }
    }

    /// Sends a request with the current cookies. The caller delivers the answer.
    fn start(
        &mut self,
        action: Action,
        stop: Option<usize>,
    ) -> (Sent, Option<Stop>, JoinHandle<Reply>) {
        let client = self.jar.steal();
        let random = Random::new(self.random.below(usize::MAX) as u64);
        let (pace, stop) = match stop {
            None => (Pace::new(random), None),
            Some(sides) => {
                let (pace, stop) = Pace::with_stop(random, sides);
                (pace, Some(stop))
            }
        };
        let sent = self.model.send(action, client.token());
        let reply = tokio::spawn(pace.run(async move {
            match action {
                Action::Page => client.get(&action.path()).await,
                _ => client.post(&action.path(), "").await,
            }
        }));
        (sent, stop, reply)
    }

    /// Sends a request, twice concurrently if `is_double`, and handles its answers.
    async fn send(&mut self, tab: usize, action: Action, is_double: bool) {
        let mut requests = vec![self.start(action, None)];
        if is_double {
            requests.push(self.start(action, None));
        }
        let mut answers = Vec::new();
        for (sent, _, reply) in requests {
            answers.push((sent, reply.await.expect("the request should get an answer")));
        }
        if self.random.percent(50) {
            answers.reverse();
        }
        // The request that found the secret valid came first, so the model gets its answer first.
        let mut order: Vec<usize> = (0..answers.len()).collect();
        order.sort_by_key(|index| {
            let (sent, reply) = &answers[*index];
            !matches!((cookie(reply), &sent.token),
                (Cookie::Set(fresh), Some(token)) if id(&fresh) == id(token))
        });
        let mut are_sure = vec![false; answers.len()];
        for index in order {
            let (sent, reply) = &answers[index];
            are_sure[index] = self.model.answer(sent, reply);
        }
        for ((sent, reply), is_sure) in answers.into_iter().zip(are_sure) {
            self.arrive(tab, &sent, &reply, is_sure);
        }
    }

    /// Delivers the response of a request now, later, or never, at random.
    fn arrive(&mut self, tab: usize, sent: &Sent, reply: &Reply, is_sure: bool) {
        let cookie = cookie(reply);
        if self.random.percent(50) {
            println!("    {:?} lost: {} {cookie:?}", sent.action, reply.status);
            return;
        }
        if self.random.percent(15) && self.tabs[tab].waiting.is_none() {
            println!("    {:?} is slow: {} {cookie:?}", sent.action, reply.status);
            self.tabs[tab].waiting = Some(Waiting::OnNetwork(cookie));
            return;
        }
        println!("    {:?}: {} {cookie:?}", sent.action, reply.status);
        if reply.status == StatusCode::CONFLICT {
            self.refused = Some((sent.action, sent.token.clone()));
        }
        if sent.action == Action::Page {
            let item = self.next();
            self.tabs[tab].forms.push(item);
        }
        self.assert_keeps(sent, &cookie, is_sure);
        self.store(&cookie);
    }

    fn store(&self, cookie: &Cookie) {
        match cookie {
            Cookie::Kept => {}
            Cookie::Set(token) => self.jar.plant("__Host-id", token),
            Cookie::Removed => self.jar.forget("__Host-id"),
        }
    }

    /// Checks that an answer neither signs a user out nor removes an item, unless the user asked
    /// for it.
    ///
    /// Two cases are not checked:
    ///
    /// - An answer arrives after the cookie of another session, and replaces that cookie.
    /// - An item was added while a second sign-in, which had already read the cart, was in flight.
    fn assert_keeps(&self, sent: &Sent, cookie: &Cookie, is_sure: bool) {
        let token = self.token();
        let is_newest =
            token == sent.token || token.as_deref().map(id) == sent.token.as_deref().map(id);
        let Some(before) = self.model.content(token.as_deref()).filter(|_| is_newest) else {
            return;
        };
        // While such a request is in flight, the model does not know the session for sure.
        if self.model.is_changing_session(token.as_deref()) {
            return;
        }
        let signed_in = match sent.action {
            Action::SignOut => return,
            Action::SignIn { user, .. } => Some(user),
            Action::StepUp { .. } => sent.user,
            Action::Page | Action::Add(_) | Action::Choose(_) => None,
        };
        let user = signed_in.or(before.user);
        if before.user.is_some() && before.user != user {
            return;
        }
        let after = match cookie {
            Cookie::Kept => return,
            Cookie::Set(token) => self.model.content(Some(token)),
            Cookie::Removed => None,
        };
        let Some(after) = after else { panic!("{sent:?} loses the session {before:?}") };
        assert_eq!(after.user, user, "{sent:?} should not change the user of {before:?}");
        let is_kept = (before.sure & &sent.sure).is_subset(after.sure);
        assert!(is_kept || !is_sure, "{sent:?} should lose no items: {before:?}, {after:?}");
    }

    /// Continues the request that waits in a tab.
    async fn finish(&mut self, tab: usize) {
        match self.tabs[tab].waiting.take() {
            None => {}
            Some(Waiting::OnServer(sent, stop, reply)) => {
                stop.resume();
                let reply = reply.await.expect("the request should get an answer");
                let is_sure = self.model.answer(&sent, &reply);
                self.arrive(tab, &sent, &reply, is_sure);
            }
            Some(Waiting::OnNetwork(cookie)) => self.store(&cookie),
        }
    }

    /// Delivers the slow answers before time passes, so that each takes less than the five seconds
    /// of a late request.
    async fn deliver(&mut self) {
        for tab in 0..TABS {
            if matches!(self.tabs[tab].waiting, Some(Waiting::OnNetwork(_))) {
                println!("    tab {tab} continues");
                self.finish(tab).await;
            }
        }
    }

    /// Begins a request that stops on the server.
    async fn begin_slow(&mut self, tab: usize, action: Action) {
        let sides = self.random.below(6);
        let (sent, stop, reply) = self.start(action, Some(sides));
        let Some(mut stop) = stop else { return };
        if stop.reached().await {
            self.tabs[tab].waiting = Some(Waiting::OnServer(sent, stop, reply));
            return;
        }
        // The request made too few store calls to stop.
        let reply = reply.await.expect("the request should get an answer");
        let is_sure = self.model.answer(&sent, &reply);
        self.arrive(tab, &sent, &reply, is_sure);
    }

    /// Repeats a request that was refused as late, when a newer cookie has arrived or the request
    /// can no longer be late.
    async fn send_again(&mut self, tab: usize, time: Time) {
        let Some((action, token)) = self.refused.take() else { return };
        let has_newer =
            self.token() != token && self.model.content(self.token().as_deref()).is_some();
        if !has_newer {
            if time == Time::Real || self.model.is_changing() {
                return;
            }
            self.deliver().await;
            sleep(LONG_AGO).await;
        }
        let (sent, _, reply) = self.start(action, None);
        let reply = reply.await.expect("the request should get an answer");
        let is_sure = self.model.answer(&sent, &reply);
        // If the model is not sure, another tab may have replaced the secret again.
        assert!(
            reply.status != StatusCode::CONFLICT || !is_sure,
            "{action:?} should no longer be refused"
        );
        self.arrive(tab, &sent, &reply, is_sure);
    }
}

/// Runs the random script of a seed.
pub async fn a_browser_on_a_lossy_network_loses_nothing<S: Store>(
    store: Arc<S>,
    time: Time,
    seed: u64,
) {
    println!("RUTS_SEED={seed}");
    let index = Arc::clone(&store);
    let layer = SessionLayer::new(PacedStore::new(store)).idle_timeout(IDLE);
    let layer = layer.renew_every(RENEWAL).renewal_grace(RENEWAL_GRACE);
    let mut browser = Browser {
        random: Random::new(seed),
        jar: Client::new(routes().layer(layer)),
        tabs: Default::default(),
        model: Model::default(),
        latest: 0,
        refused: None,
    };
    let mut sleeps = SLEEPS;
    for step in 0..STEPS {
        let tab = browser.random.below(TABS);
        if browser.tabs[tab].waiting.is_some() {
            println!("{step}: tab {tab} continues");
            browser.finish(tab).await;
            continue;
        }
        match browser.random.below(100) {
            0..3 if !browser.model.is_changing() => {
                let user = USERS[browser.random.below(USERS.len())];
                println!("{step}: user {user} is revoked");
                let begun = Instant::now();
                Shop::sessions(&index).by_user(&user).revoke_all().await.unwrap();
                browser.model.end(Some(user), Span::since(begun));
            }
            3..5 => {
                for tab in 0..TABS {
                    browser.finish(tab).await;
                }
                println!("{step}: the browser is away until its session has expired");
                let (begun, token) = (Instant::now(), browser.token());
                match time {
                    Time::Paused => {
                        sleep(IDLE).await;
                        browser.model.end(None, Span::since(begun));
                    }
                    Time::Real => {
                        let opens = browser.model.opens(token.as_deref());
                        let (Opens::Live, Some(token), 1..) = (opens, token, sleeps) else {
                            continue;
                        };
                        sleeps -= 1;
                        let reply = browser.jar.post("/expire", "").await;
                        assert_eq!(reply.status, StatusCode::OK);
                        sleep(Duration::from_millis(1500)).await;
                        browser.model.expire(&token, Span::since(begun));
                    }
                }
            }
            // Time passes only while no request that replaces a secret is in flight. So such a
            // request and its answer take less than the five seconds of a late request.
            5..11 if time == Time::Paused && !browser.model.is_changing() => {
                browser.deliver().await;
                let seconds = [2, 6, 40][browser.random.below(3)];
                println!("{step}: {seconds} seconds pass");
                sleep(Duration::from_secs(seconds)).await;
            }
            11..18 => {
                println!("{step}: tab {tab} sends again: {:?}", browser.refused);
                browser.send_again(tab, time).await;
            }
            18..28 => {
                let action = browser.action(tab);
                println!("{step}: tab {tab}: {action:?}, slow");
                browser.begin_slow(tab, action).await;
            }
            kind => {
                let (action, is_double) = (browser.action(tab), kind < 45);
                println!("{step}: tab {tab}: {action:?}, double: {is_double}");
                browser.send(tab, action, is_double).await;
            }
        }
    }
}
