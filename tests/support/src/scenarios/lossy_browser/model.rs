//! A model of the sessions of a browser: the answers that a request may get, and the effects of the
//! answer that it got.
//!
//! The model follows the rules of `docs/late-requests.md`. The model learns of every answer, even
//! if the browser never sees it. For requests that were in flight at the same time, it allows the
//! outcome of every order.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use ruts::testing::Reply;
use tokio::time::Instant;

use super::{
    RENEWAL_GRACE,
    request::{Action, name},
};
use crate::Span;

/// The effect of an answer on the session cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cookie {
    Kept,
    Set(String),
    Removed,
}

/// A request in flight, and the state of its session when it was sent.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    number: u64,
    at: Instant,
    pub(super) action: Action,
    pub(super) token: Option<String>,
    was_live: bool,
    pub(super) user: Option<u64>,
    flash: Option<u64>,
    /// Items that were certainly in the cart, and items that may have been.
    pub(super) sure: BTreeSet<u64>,
    maybe: BTreeSet<u64>,
}

/// The state of the grace period of a former secret.
#[derive(Debug, Clone, Copy)]
enum Grace {
    /// The renewed secret has not been used yet.
    Pending,
    /// The renewed secret was first used in this span.
    Since(Span),
    /// The secret was replaced in this span, without a grace period.
    Over(Span),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its secret is still recognised.
    Deleted,
    /// Revoked or expired.
    Gone,
}

#[derive(Debug)]
struct Session {
    current: String,
    issued: Span,
    former: Option<(String, Grace)>,
    /// The token of the request that started the session, if the store no longer accepted this
    /// token.
    origin: Option<String>,
    ended: Option<(End, Span)>,
    user: Option<u64>,
    flash: Option<u64>,
    sure: BTreeSet<u64>,
    maybe: BTreeSet<u64>,
    /// Actions that replaced the secret or ended the session: number of the answer, action, and
    /// user.
    changes: Vec<(u64, Action, Option<u64>)>,
    /// Values of `Model::number` when the cart was last emptied, and when the secret was last
    /// renewed or confirmed.
    emptied: u64,
    renewed: u64,
}

/// The state of the secret in a token.
#[derive(Debug, Clone, Copy)]
pub(super) enum Opens {
    Live,
    InGrace,
    Replaced(Span),
    /// A secret older than the former one. The current secret was issued in this span.
    ReplacedTwice(Span),
    Deleted(Span),
    Unknown,
    Nothing,
}

/// The content of a live session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content<'a> {
    pub(super) user: Option<u64>,
    pub(super) sure: &'a BTreeSet<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    /// Number of events: requests sent, answers received, and sessions ended.
    number: u64,
    sessions: BTreeMap<String, Session>,
    in_flight: Vec<Sent>,
    /// Sign-ins that created a session in place of another one: the id of the former session, the
    /// user, and the id of the new session.
    attempts: Vec<(String, u64, String)>,
    /// Messages that were shown, each with the session of its page.
    shown: BTreeSet<(String, u64)>,
}

pub(super) fn id(token: &str) -> &str {
    &token[..22]
}

pub(super) fn cookie(reply: &Reply) -> Cookie {
    match &reply.set_cookies()[..] {
        [] => Cookie::Kept,
        [cookie] if cookie.value().is_empty() => Cookie::Removed,
        [cookie] => Cookie::Set(cookie.value().to_owned()),
        cookies => panic!("several cookies: {cookies:?}"),
    }
}

impl Opens {
    fn is_live(self) -> bool {
        matches!(self, Self::Live | Self::InGrace)
    }

    /// Returns whether a write with such a token may start a session, and whether it may be
    /// refused.
    fn outcomes_of_write(self, request: &Span) -> (bool, bool) {
        match self {
            Self::Live | Self::InGrace => (false, false),
            Self::Unknown | Self::Nothing => (true, false),
            Self::Replaced(at) | Self::ReplacedTwice(at) | Self::Deleted(at) => {
                match at.makes_late(request) {
                    Some(is_late) => (!is_late, is_late),
                    None => (true, true),
                }
            }
        }
    }
}

impl Session {
    fn new(token: &str, span: Span) -> Self {
        Self {
            current: token.to_owned(),
            issued: span,
            former: None,
            origin: None,
            ended: None,
            user: None,
            flash: None,
            sure: BTreeSet::new(),
            maybe: BTreeSet::new(),
            changes: Vec::new(),
            emptied: 0,
            renewed: 0,
        }
    }

    fn opens(&self, token: &str) -> Opens {
        let open = match self.ended {
            Some((End::Gone, _)) => return Opens::Unknown,
            Some((End::Deleted, at)) => Opens::Deleted(at),
            None => Opens::Live,
        };
        if self.current == token {
            return open;
        }
        match &self.former {
            Some((former, grace)) if former == token => match grace {
                Grace::Pending => open,
                Grace::Since(used) if used.elapsed() >= RENEWAL_GRACE => {
                    Opens::Replaced(used.after(RENEWAL_GRACE))
                }
                Grace::Since(_) if self.ended.is_none() => Opens::InGrace,
                Grace::Since(_) => open,
                Grace::Over(at) => Opens::Replaced(*at),
            },
            _ if self.ended.is_none() => Opens::ReplacedTwice(self.issued),
            _ => Opens::Unknown,
        }
    }
}

impl Session {
    /// Returns whether a token is the former token of a live guest session, and was replaced by a
    /// rotation.
    fn is_unheard(&self, token: Option<&str>) -> bool {
        let former = self.former.as_ref().map(|(former, grace)| (&**former, grace));
        let is_replaced = matches!(former, Some((former, Grace::Over(_))) if Some(former) == token);
        self.user.is_none() && self.ended.is_none() && is_replaced
    }
}

impl Model {
    pub(super) fn opens(&self, token: Option<&str>) -> Opens {
        let Some(token) = token else { return Opens::Nothing };
        self.sessions.get(id(token)).map_or(Opens::Unknown, |session| session.opens(token))
    }

    /// Returns the content of the session to which a token gives access.
    pub(super) fn content(&self, token: Option<&str>) -> Option<Content<'_>> {
        let session = self.sessions.get(id(token?)).filter(|_| self.opens(token).is_live())?;
        Some(Content { user: session.user, sure: &session.sure })
    }

    /// Returns whether a request is in flight that may sign in or out, or replace a secret.
    pub(super) fn is_changing(&self) -> bool {
        self.in_flight.iter().any(|sent| sent.action.changes_identity())
    }

    /// Returns whether such a request is in flight in the session of a token.
    pub(super) fn is_changing_session(&self, token: Option<&str>) -> bool {
        let ours = token.map(id);
        self.in_flight
            .iter()
            .any(|sent| sent.action.changes_identity() && sent.token.as_deref().map(id) == ours)
    }

    /// Returns whether the secret of a request may have stopped working since the request was sent,
    /// or the identity of its session may have changed.
    fn is_disturbed(&self, sent: &Sent) -> bool {
        let is_closed = sent.was_live && !self.opens(sent.token.as_deref()).is_live();
        is_closed || self.changes_during(sent).next().is_some()
    }

    /// Returns the actions that may have changed the identity of a request's session, and their
    /// users.
    fn changes_during<'a>(
        &'a self,
        sent: &'a Sent,
    ) -> impl Iterator<Item = (Action, Option<u64>)> + 'a {
        let ours = sent.token.as_deref().map(id);
        let session = ours.and_then(|id| self.sessions.get(id));
        let done = session.into_iter().flat_map(|session| &session.changes);
        let done = done.filter(|(number, ..)| *number > sent.number);
        let done = done.map(|(_, action, user)| (*action, *user));
        let under_way = self.in_flight.iter().filter(move |other| {
            other.action.changes_identity()
                && ours.is_some()
                && other.token.as_deref().map(id) == ours
        });
        done.chain(under_way.map(|other| (other.action, other.user)))
    }

    /// Returns whether another request may have renewed a secret, or used a renewed secret, since
    /// this request was sent.
    fn is_renewing(&self, sent: &Sent) -> bool {
        let Some(ours) = sent.token.as_deref().map(id) else { return false };
        let renewed = self.sessions.get(ours).is_some_and(|ours| ours.renewed > sent.number);
        renewed || self.in_flight.iter().any(|other| other.token.as_deref().map(id) == Some(ours))
    }

    /// Records that a request is sent.
    pub(super) fn send(&mut self, action: Action, token: Option<String>) -> Sent {
        self.number += 1;
        let is_live = self.opens(token.as_deref()).is_live();
        let mut session = token.as_deref().and_then(|token| self.sessions.get_mut(id(token)));
        if let (Some(session), Action::Add(item)) = (&mut session, action) {
            session.maybe.insert(item);
        }
        let (sure, maybe) = session
            .as_ref()
            .map(|session| (session.sure.clone(), session.maybe.clone()))
            .unwrap_or_default();
        let session = session.filter(|_| is_live);
        let sent = Sent {
            number: self.number,
            at: Instant::now(),
            action,
            was_live: is_live,
            user: session.as_ref().and_then(|session| session.user),
            flash: session.and_then(|session| session.flash),
            sure,
            maybe,
            token,
        };
        self.in_flight.push(sent.clone());
        sent
    }

    /// Checks the answer of a request, and records its effects.
    ///
    /// Returns whether the model knows the state of its session for sure.
    pub(super) fn answer(&mut self, sent: &Sent, reply: &Reply) -> bool {
        self.number += 1;
        self.in_flight.retain(|other| other.number != sent.number);
        assert!(!reply.status.is_server_error(), "{sent:?}: {reply:?}");
        let span = Span::since(sent.at);
        let cookie = cookie(reply);
        let opens = self.opens(sent.token.as_deref());
        let is_sure = !self.is_disturbed(sent);
        if opens.is_live() {
            let is_elsewhere = matches!(&cookie,
                Cookie::Set(fresh) if !Self::is_of_same_session(sent, fresh));
            // Only a request that found its session has used the secret.
            let has_found = match sent.action {
                Action::Page => !reply.text().starts_with("||"),
                Action::Add(_) => reply.status == StatusCode::OK && !is_elsewhere,
                _ => false,
            };
            self.confirm(sent, span, is_sure || has_found);
        }
        match sent.action {
            Action::Page => self.page(sent, reply, &cookie, opens, span),
            Action::Add(item) => self.write(sent, reply, &cookie, opens, span, Some(item)),
            Action::Choose(_) => self.write(sent, reply, &cookie, opens, span, None),
            Action::SignIn { user, flash } => {
                self.sign_in(sent, reply, &cookie, opens, span, (user, flash));
            }
            Action::StepUp { flash } => match sent.user {
                _ if reply.status == StatusCode::UNAUTHORIZED => {
                    let is_guest = !opens.is_live() || sent.user.is_none();
                    assert!(is_guest || !is_sure, "{sent:?} should find a user");
                    self.renewal(sent, &cookie, opens, span);
                }
                Some(user) => self.sign_in(sent, reply, &cookie, opens, span, (user, flash)),
                None => panic!("{sent:?} finds a user: {reply:?}"),
            },
            Action::SignOut => self.sign_out(sent, reply, &cookie, opens, span),
        }
        is_sure
    }

    fn session(&mut self, sent: &Sent) -> &mut Session {
        let token = sent.token.as_deref().expect("the request should have a token");
        self.sessions.get_mut(id(token)).expect("the model should know the session")
    }

    /// Starts the grace period of the former secret at the first use of the renewed one.
    ///
    /// If that use is uncertain, any later request may find a secret that was renewed in the
    /// meantime.
    fn confirm(&mut self, sent: &Sent, span: Span, is_sure: bool) {
        let number = self.number;
        let session = self.session(sent);
        if let (true, Some((_, grace @ Grace::Pending))) =
            (sent.token.as_deref() == Some(&session.current), &mut session.former)
        {
            session.renewed = if is_sure { number } else { u64::MAX };
            if is_sure {
                *grace = Grace::Since(span);
            }
        }
    }

    /// Checks that a page shows the right user, the whole cart, and each message once.
    fn page(&mut self, sent: &Sent, reply: &Reply, cookie: &Cookie, opens: Opens, span: Span) {
        assert_eq!(reply.status, StatusCode::OK, "{sent:?}");
        let page = Page::parse(&reply.text());
        for (item, owner) in &page.cart {
            let is_own = owner.is_none() || *owner == page.user;
            assert!(is_own, "{sent:?} should not show the item {item} of {owner:?}: {page:?}");
        }
        let items: BTreeSet<u64> = page.cart.iter().map(|(item, _)| *item).collect();
        let is_empty = page.user.is_none() && items.is_empty() && page.flash.is_none();
        if self.is_disturbed(sent) {
            let maybe = &self.session(sent).maybe | &sent.maybe;
            let is_right = page.user == sent.user && items.is_subset(&maybe);
            assert!(is_right || is_empty, "{sent:?} should show only {maybe:?}: {page:?}");
        } else if opens.is_live() {
            let is_alone = !self.is_renewing(sent);
            let session = self.session(sent);
            assert_eq!(page.user, session.user, "{sent:?} with a token that is {opens:?}");
            let is_whole = sent.sure.is_subset(&items) && items.is_subset(&session.maybe);
            assert!(is_whole, "{sent:?} should show the whole cart of {session:?}: {page:?}");
            let is_shown = page.flash == session.flash || !is_alone;
            assert!(is_shown, "{sent:?}: {page:?} should show the message {:?}", session.flash);
        } else {
            assert!(is_empty, "{sent:?} with a token that is {opens:?}: {page:?}");
        }
        if let Some(flash) = page.flash {
            let session = self.session(sent);
            let is_ours = session.flash == Some(flash) || sent.flash == Some(flash);
            assert!(is_ours, "{sent:?} should not show a message of a different session: {page:?}");
            session.flash = session.flash.filter(|kept| *kept != flash);
            let ours = id(&session.current).to_owned();
            assert!(
                self.shown.insert((ours, flash)),
                "{sent:?} should not show a message again: {page:?}"
            );
        }
        self.renewal(sent, cookie, opens, span);
    }

    /// Checks that the cookie changes only by a renewal that may be due, and records the renewal.
    fn renewal(&mut self, sent: &Sent, cookie: &Cookie, opens: Opens, span: Span) {
        let is_alone = !self.is_renewing(sent) && !self.is_disturbed(sent);
        let is_due = match opens {
            Opens::Live => self.session(sent).issued.is_older(super::RENEWAL, &span),
            _ => Some(false),
        };
        match cookie {
            Cookie::Kept => {
                assert!(is_due != Some(true) || !is_alone, "{sent:?} should renew the secret");
            }
            Cookie::Set(fresh) => {
                let number = self.number;
                assert_ne!(
                    is_due,
                    Some(false),
                    "{sent:?} should not renew a secret that is {opens:?}"
                );
                let session = self.session(sent);
                assert_eq!(id(fresh), id(&session.current), "{sent:?} should keep the session id");
                let presented = sent.token.clone().unwrap_or_default();
                session.former = Some((presented, Grace::Pending));
                (session.current, session.issued) = (fresh.clone(), span);
                session.renewed = number;
            }
            Cookie::Removed => panic!("{sent:?} removes the cookie"),
        }
    }

    /// Records that a request replaced the secret that it presented.
    fn rotate(&mut self, sent: &Sent, fresh: &str, opens: Opens, span: Span) {
        let number = self.number;
        let is_open = match opens {
            Opens::Live => true,
            // A later sign-out found the secret replaced, and ended nothing.
            Opens::Deleted(_) => self.is_disturbed(sent),
            _ => false,
        };
        assert!(is_open, "{sent:?} should not replace a secret that is {opens:?}");
        let session = self.session(sent);
        session.ended = None;
        let presented = sent.token.clone().unwrap_or_default();
        session.former = Some((presented, Grace::Over(span)));
        (session.current, session.issued) = (fresh.to_owned(), span);
        session.renewed = number;
        session.changes.push((number, sent.action, sent.user));
    }

    fn is_of_same_session(sent: &Sent, token: &str) -> bool {
        sent.token.as_deref().map(id) == Some(id(token))
    }

    /// Checks a write of an item, or of the field whose write rotates the secret.
    fn write(
        &mut self,
        sent: &Sent,
        reply: &Reply,
        cookie: &Cookie,
        opens: Opens,
        span: Span,
        item: Option<u64>,
    ) {
        let is_disturbed = self.is_disturbed(sent);
        let (may_create, mut may_refuse) = opens.outcomes_of_write(&span);
        if item.is_none() {
            // A former secret in its grace period cannot rotate the secret.
            may_refuse |= matches!(opens, Opens::InGrace) || self.is_renewing(sent);
        }
        if reply.status == StatusCode::CONFLICT {
            let is_late = may_refuse || is_disturbed;
            assert!(is_late, "{sent:?} with a token that is {opens:?} should not be refused");
            assert_eq!(*cookie, Cookie::Kept, "{sent:?} is refused and should keep the cookie");
            return;
        }
        assert_eq!(reply.status, StatusCode::OK, "{sent:?}");
        if let Some(item) = item {
            let user = sent.user.filter(|_| opens.is_live());
            let entry = format!("{item}@{}", name(user));
            assert!(reply.text() == entry || is_disturbed, "{sent:?}: {reply:?}");
        }
        match cookie {
            Cookie::Set(fresh) if !Self::is_of_same_session(sent, fresh) => {
                assert!(
                    may_create || is_disturbed,
                    "{sent:?} should not start a session in addition to {opens:?}"
                );
                let mut session = Session::new(fresh, span);
                session.origin = sent.token.clone();
                session.sure.extend(item);
                session.maybe.extend(item);
                self.sessions.insert(id(fresh).to_owned(), session);
            }
            cookie => {
                let is_found = opens.is_live() || is_disturbed;
                assert!(
                    is_found,
                    "{sent:?} with a token that is {opens:?} should write to a session"
                );
                match (item, cookie) {
                    (Some(item), _) => {
                        if opens.is_live() {
                            self.renewal(sent, cookie, opens, span);
                        }
                        let session = self.session(sent);
                        if session.emptied < sent.number {
                            session.sure.insert(item);
                        }
                    }
                    (None, Cookie::Set(fresh)) => self.rotate(sent, fresh, opens, span),
                    (None, _) => panic!("{sent:?} replaces no secret"),
                }
            }
        }
    }

    /// Checks that a sign-in succeeds immediately, with any cookie.
    fn sign_in(
        &mut self,
        sent: &Sent,
        reply: &Reply,
        cookie: &Cookie,
        opens: Opens,
        span: Span,
        (user, flash): (u64, u64),
    ) {
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{sent:?}");
        let Cookie::Set(fresh) = cookie else { panic!("{sent:?} sets no cookie") };
        if Self::is_of_same_session(sent, fresh) {
            let (number, is_disturbed) = (self.number, self.is_disturbed(sent));
            let (sure, maybe) = self.lost_items(sent, user);
            let session = self.session(sent);
            if session.user.is_none() {
                if session.maybe.is_empty() && !is_disturbed {
                    session.sure.extend(sure);
                }
                session.maybe.extend(maybe);
            }
            if session.user.is_some_and(|former| former != user) {
                (session.sure, session.maybe) = Default::default();
                session.emptied = number;
            }
            (session.user, session.flash) = (Some(user), Some(flash));
            self.rotate(sent, fresh, opens, span);
            return;
        }
        let is_disturbed = self.is_disturbed(sent);
        let is_moved = is_disturbed || self.is_renewing(sent);
        assert!(
            !matches!(opens, Opens::Live) || is_moved,
            "{sent:?} should not start a new session"
        );
        let mut session = Session::new(fresh, span);
        (session.user, session.flash) = (Some(user), Some(flash));
        // The cart is kept after a double click, and when the answer of a sign-in or of a guest's
        // rotation was lost.
        let former = sent.token.as_deref().and_then(|token| self.sessions.get(id(token)));
        if let Some(former) = former {
            let is_same = former.user == Some(user) && former.ended.is_none();
            if is_disturbed {
                session.maybe = &former.maybe | &sent.maybe;
                let is_sign_in = |action, of| match action {
                    Action::SignIn { user: who, .. } => who == user,
                    Action::StepUp { .. } => of == Some(user),
                    _ => false,
                };
                let is_repeated = self.changes_during(sent).all(|(act, of)| is_sign_in(act, of));
                let is_known = match opens {
                    // The cart of another user is dropped.
                    Opens::Live => former.user.is_none_or(|former| former == user),
                    Opens::Replaced(_) => is_same,
                    _ => false,
                };
                if is_repeated && is_known {
                    session.sure = &former.sure & &sent.sure;
                }
            } else if (is_same && matches!(opens, Opens::Replaced(_) | Opens::InGrace))
                || (opens.is_live() && former.user.is_none())
                || former.is_unheard(sent.token.as_deref())
            {
                session.sure = &former.sure & &sent.sure;
                session.maybe = former.maybe.clone();
            }
        }
        // The session of the request may itself have been started after a lost answer.
        session.maybe.extend(self.lost_items(sent, user).1);
        if let Some(token) = &sent.token {
            // If nothing else can be taken over, the sign-in may find the session of an earlier
            // attempt.
            let attempts = self.attempts.iter();
            let earlier = attempts.filter(|(former, by, _)| former == id(token) && *by == user);
            let earlier = earlier.filter_map(|(.., id)| self.sessions.get(id));
            let successors = self.sessions.values().filter(|session| {
                session.origin.as_deref().is_some_and(|origin| id(origin) == id(token))
            });
            for earlier in earlier.chain(successors).filter(|it| it.user == Some(user)) {
                session.maybe.extend(&earlier.maybe);
            }
            self.attempts.push((id(token).to_owned(), user, id(fresh).to_owned()));
        }
        self.sessions.insert(id(fresh).to_owned(), session);
    }

    /// Returns the items that the first sign-in of a session takes over from the session that the
    /// client has lost. The first set is certainly taken over if the cart is empty. The second set
    /// may be taken over.
    fn lost_items(&self, sent: &Sent, user: u64) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let ours = sent.token.as_deref().and_then(|token| self.sessions.get(id(token)));
        let Some(origin) = ours.and_then(|ours| ours.origin.as_deref()) else {
            return Default::default();
        };
        let lost = self.sessions.get(id(origin));
        let is_same = lost.is_some_and(|lost| lost.user == Some(user) && lost.ended.is_none());
        let is_sure = is_same && matches!(self.opens(Some(origin)), Opens::Replaced(_));
        let sure = lost.filter(|_| is_sure).map(|lost| lost.sure.clone()).unwrap_or_default();
        // The sessions that came before, and those of earlier attempts.
        let (mut maybe, mut next) = (BTreeSet::new(), sent.token.as_deref().map(id));
        while let Some(former) = next {
            let session = self.sessions.get(former);
            let attempts = self.attempts.iter().filter(|(of, by, _)| of == former && *by == user);
            let attempts = attempts.filter_map(|(.., id)| self.sessions.get(id));
            let successors = self.sessions.values().filter(|session| {
                session.origin.as_deref().is_some_and(|origin| id(origin) == former)
            });
            let found = session.into_iter().chain(attempts).chain(successors);
            let found = found.filter(|found| found.user.is_none_or(|found| found == user));
            maybe.extend(found.flat_map(|found| &found.maybe));
            next = session.and_then(|session| session.origin.as_deref()).map(id);
        }
        (sure, maybe)
    }

    fn sign_out(&mut self, sent: &Sent, reply: &Reply, cookie: &Cookie, opens: Opens, span: Span) {
        let is_disturbed = self.is_disturbed(sent);
        let (is_removed, is_refused) = match opens {
            Opens::Live | Opens::InGrace | Opens::Unknown => (Some(true), Some(false)),
            Opens::Nothing => (Some(false), Some(false)),
            Opens::Replaced(at) | Opens::ReplacedTwice(at) => {
                let is_late = at.makes_late(&span);
                (is_late.map(|is_late| !is_late), is_late)
            }
            Opens::Deleted(at) => (at.makes_late(&span).map(|is_late| !is_late), Some(false)),
        };
        let (has_removed, was_refused) =
            (*cookie == Cookie::Removed, reply.status == StatusCode::CONFLICT);
        let is_expected = is_removed.is_none_or(|is_removed| is_removed == has_removed)
            && is_refused.is_none_or(|is_refused| is_refused == was_refused);
        assert!(is_expected || is_disturbed, "{sent:?} with {opens:?}: {reply:?}");
        assert!(was_refused || reply.status == StatusCode::OK, "{sent:?}: {reply:?}");
        assert!(!matches!(cookie, Cookie::Set(_)), "{sent:?} should set no cookie");
        if has_removed && opens.is_live() {
            let number = self.number;
            let session = self.session(sent);
            session.ended = Some((End::Deleted, span));
            session.changes.push((number, sent.action, sent.user));
        }
    }

    /// Records that the sessions of a user, or all sessions, have ended without a request of their
    /// own.
    pub(super) fn end(&mut self, user: Option<u64>, span: Span) {
        self.number += 1;
        for session in self.sessions.values_mut() {
            if session.ended.is_none() && user.is_none_or(|user| session.user == Some(user)) {
                session.ended = Some((End::Gone, span));
                session.changes.push((self.number, Action::SignOut, session.user));
            }
        }
    }

    /// Records that the session of a token has expired.
    pub(super) fn expire(&mut self, token: &str, span: Span) {
        self.number += 1;
        if let Some(session) = self.sessions.get_mut(id(token)) {
            session.ended = Some((End::Gone, span));
        }
    }
}

/// The text of a page.
#[derive(Debug)]
struct Page {
    user: Option<u64>,
    /// Items, each with the user who added it.
    cart: Vec<(u64, Option<u64>)>,
    flash: Option<u64>,
}

impl Page {
    fn parse(text: &str) -> Self {
        let mut parts = text.split('|');
        let mut part = || parts.next().expect("the page should have three parts");
        let (user, cart, flash) = (part().parse().ok(), part(), part().parse().ok());
        let entries = cart.split(',').filter(|entry| !entry.is_empty());
        let entries = entries.map(|entry| {
            let (item, owner) =
                entry.split_once('@').expect("the entry should have an item and its owner");
            (item.parse().expect("the item should be a number"), owner.parse().ok())
        });
        Self { user, cart: entries.collect(), flash }
    }
}
