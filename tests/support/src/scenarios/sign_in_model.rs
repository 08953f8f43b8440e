//! Random sign-ins with two schemas, each of which has a principal. A model predicts every answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    routing::{MethodRouter, get},
};
use ruts::{
    Error, Session, SessionLayer,
    auth::Assurance,
    guard::Aal,
    session,
    session::PrincipalSessions,
    store::Store,
    testing::{Client, Reply},
};
use tokio::time::Instant;

use crate::{ClientExt, Random, Span, Time};

/// Longer than the five seconds in which a request counts as late.
const LONG_AGO: Duration = Duration::from_secs(6);

/// Number of operations for each seed.
const STEPS: usize = 250;

#[session]
pub struct Shop {
    #[field(principal)]
    user: u64,
    #[field(default)]
    cart: usize,
}

/// A second schema of the same session, with a different principal field.
#[session]
pub struct Office {
    #[field(principal)]
    admin: u64,
    #[field(default)]
    desk: usize,
}

type Answer = Result<String, Error>;

async fn sign_in(
    session: Session,
    Path((schema, id, level, keeps)): Path<(String, u64, u8, bool)>,
) -> Result<(), Error> {
    let edit = match &*schema {
        "user" => session.edit().set(Shop::USER, &id),
        _ => session.edit().set(Office::ADMIN, &id),
    };
    let edit = edit
        .assurance(Assurance::from_level(level).expect("the level should be an assurance level"));
    if keeps { edit.keep_fields() } else { edit }.commit().await
}

async fn who(shop: Shop, office: Office) -> Answer {
    let (user, admin) = (shop.user().await?, office.admin().await?);
    let (cart, desk) = (shop.cart().await?, office.desk().await?);
    let signed_in = shop.session().signed_in().await?;
    let level = signed_in.map(|signed_in| signed_in.assurance.level());
    Ok(format!("{user:?} {admin:?} {cart} {desk} {level:?}"))
}

fn guarded<G: axum::extract::FromRequestParts<()> + Send + 'static>() -> MethodRouter {
    get(|_: G| async {})
}

fn routes() -> Router {
    Router::new()
        .route("/who", get(who))
        .route("/sign-in/{schema}/{id}/{level}/{keeps}", get(sign_in))
        .route(
            "/remove/user",
            get(|shop: Shop| async move { shop.user().remove().await.map(drop) }),
        )
        .route(
            "/remove/admin",
            get(|office: Office| async move { office.admin().remove().await.map(drop) }),
        )
        .route("/take/user", get(|shop: Shop| async move { shop.user().take().await.map(drop) }))
        .route(
            "/take/admin",
            get(|office: Office| async move { office.admin().take().await.map(drop) }),
        )
        .route(
            "/set/cart/{number}",
            get(
                |shop: Shop, Path(number): Path<usize>| async move { shop.set_cart(&number).await },
            ),
        )
        .route(
            "/set/desk/{number}",
            get(|office: Office, Path(number): Path<usize>| async move {
                office.set_desk(&number).await
            }),
        )
        .route("/delete", get(|session: Session| async move { session.delete().await }))
        .route("/regenerate", get(|session: Session| async move { session.regenerate().await }))
        .route(
            "/revoke-others",
            get(|session: Session| async move {
                Ok::<_, Error>(session.revoke_others().await?.to_string())
            }),
        )
        .route("/aal/user/1", guarded::<Aal<Shop, 1>>())
        .route("/aal/user/2", guarded::<Aal<Shop, 2>>())
        .route("/aal/user/3", guarded::<Aal<Shop, 3>>())
        .route("/aal/admin/1", guarded::<Aal<Office, 1>>())
        .route("/aal/admin/2", guarded::<Aal<Office, 2>>())
        .route("/aal/admin/3", guarded::<Aal<Office, 3>>())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Schema {
    User,
    Admin,
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::User { "user" } else { "admin" })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Principal {
    schema: Schema,
    id: u64,
}

const PRINCIPALS: [Principal; 3] = [
    Principal { schema: Schema::User, id: 7 },
    Principal { schema: Schema::User, id: 8 },
    Principal { schema: Schema::Admin, id: 1 },
];

#[derive(Debug, Clone, Copy)]
enum Operation {
    SignIn { who: Principal, level: u8, keeps: bool },
    Remove(Schema),
    Take(Schema),
    SetCart(usize),
    SetDesk(usize),
    Delete,
    Regenerate,
    RevokeOthers,
}

impl Operation {
    fn path(self) -> String {
        match self {
            Self::SignIn { who: Principal { schema, id }, level, keeps } => {
                format!("/sign-in/{schema}/{id}/{level}/{keeps}")
            }
            Self::Remove(schema) => format!("/remove/{schema}"),
            Self::Take(schema) => format!("/take/{schema}"),
            Self::SetCart(number) => format!("/set/cart/{number}"),
            Self::SetDesk(number) => format!("/set/desk/{number}"),
            Self::Delete => "/delete".to_owned(),
            Self::Regenerate => "/regenerate".to_owned(),
            Self::RevokeOthers => "/revoke-others".to_owned(),
        }
    }
}

/// The fields of a session. A stored principal is signed in only if it owns the session.
#[derive(Debug, Clone, Copy, Default)]
struct Fields {
    user: Option<u64>,
    admin: Option<u64>,
    cart: usize,
    desk: usize,
}

impl Fields {
    fn principal(&mut self, schema: Schema) -> &mut Option<u64> {
        match schema {
            Schema::User => &mut self.user,
            Schema::Admin => &mut self.admin,
        }
    }
}

/// A session as the model knows it.
#[derive(Debug)]
struct Record {
    current: String,
    former: Option<(String, Span)>,
    deleted: Option<Span>,
    owner: Option<(Principal, u8)>,
    fields: Fields,
    /// The token of the request that started the session.
    origin: Option<String>,
    /// Whether no principal has signed in yet.
    is_new: bool,
}

/// The state of the secret in a token.
#[derive(Debug, Clone, Copy)]
enum Opens {
    Live,
    Replaced(Span),
    /// A secret older than the former one. The current secret was issued in this span.
    ReplacedTwice(Span),
    Deleted(Span),
    Unknown,
    Nothing,
}

/// The expected `Set-Cookie`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cookie {
    Nothing,
    /// A new secret of the same session.
    Rotated,
    /// A secret of a new session.
    New,
    Removed,
}

/// A sign-in with a token that was not valid: the id of the former session, the principal, and the
/// id of the new session.
type Attempt = (String, Principal, String);

/// All sessions by id, without revoked ones, and the attempts to sign in.
#[derive(Debug, Default)]
struct Model(BTreeMap<String, Record>, Vec<Attempt>);

fn id(token: &str) -> String {
    token[..22].to_owned()
}

impl Model {
    fn opens(&self, token: Option<&str>) -> Opens {
        let Some(token) = token else { return Opens::Nothing };
        match self.0.get(&id(token)) {
            Some(Record { current, deleted, .. }) if current == token => {
                deleted.map_or(Opens::Live, Opens::Deleted)
            }
            Some(Record { former: Some((former, at)), .. }) if former == token => {
                Opens::Replaced(*at)
            }
            Some(Record { former: Some((_, at)), deleted: None, .. }) => Opens::ReplacedTwice(*at),
            _ => Opens::Unknown,
        }
    }

    /// Returns the text of `/who`.
    fn who(&self, token: Option<&str>) -> String {
        let record = match (self.opens(token), token) {
            (Opens::Live, Some(token)) => &self.0[&id(token)],
            _ => return "None None 0 0 None".to_owned(),
        };
        let Fields { user, admin, cart, desk } = record.fields;
        let owner = record.owner.map(|(who, _)| who);
        let shown =
            |schema, id: Option<u64>| id.filter(|id| owner == Some(Principal { schema, id: *id }));
        let (user, admin) = (shown(Schema::User, user), shown(Schema::Admin, admin));
        format!("{user:?} {admin:?} {cart} {desk} {:?}", record.owner.map(|(_, level)| level))
    }

    fn owned_by(&self, who: Principal) -> BTreeSet<String> {
        let live = self.0.iter().filter(|(_, record)| record.deleted.is_none());
        let owned = live.filter(|(_, record)| record.owner.is_some_and(|(owner, _)| owner == who));
        owned.map(|(id, _)| id.clone()).collect()
    }

    fn owner(&self, token: Option<&str>) -> Option<(Principal, u8)> {
        match (self.opens(token), token) {
            (Opens::Live, Some(token)) => self.0[&id(token)].owner,
            _ => None,
        }
    }

    fn revoke(&mut self, ids: &BTreeSet<String>) {
        self.0.retain(|id, _| !ids.contains(id));
    }

    /// Returns the expected status and cookie of an operation with such a token. `is_late` is
    /// whether a token that is no longer valid counts as late.
    fn predict(operation: Operation, opens: Opens, is_late: bool) -> (StatusCode, Cookie) {
        use Operation::{Delete, Regenerate, Remove, RevokeOthers, SetCart, SetDesk, SignIn, Take};
        let (ok, conflict) = (StatusCode::OK, StatusCode::CONFLICT);
        match (operation, opens) {
            (RevokeOthers, _) => (ok, Cookie::Nothing),
            (Delete, Opens::Nothing) => (ok, Cookie::Nothing),
            (Delete, Opens::Deleted(_)) if is_late => (ok, Cookie::Nothing),
            (Delete, Opens::Replaced(_) | Opens::ReplacedTwice(_)) if is_late => {
                (conflict, Cookie::Nothing)
            }
            (Delete, _) => (ok, Cookie::Removed),
            (SignIn { .. } | Remove(_) | Take(_) | Regenerate, Opens::Live) => {
                (ok, Cookie::Rotated)
            }
            (SignIn { .. }, _) => (ok, Cookie::New),
            (SetCart(_) | SetDesk(_), Opens::Live) => (ok, Cookie::Nothing),
            (Take(_), Opens::Replaced(_) | Opens::ReplacedTwice(_)) if is_late => {
                (conflict, Cookie::Nothing)
            }
            (Take(_), _) => (ok, Cookie::Nothing),
            (_, Opens::Replaced(_) | Opens::ReplacedTwice(_) | Opens::Deleted(_)) if is_late => {
                (conflict, Cookie::Nothing)
            }
            (SetCart(_) | SetDesk(_), _) => (ok, Cookie::New),
            (Remove(_) | Regenerate, _) => (ok, Cookie::Nothing),
        }
    }

    /// Returns the possible fields that a sign-in takes over with a token that is not valid. They
    /// come from the session that the token names. A field that it does not have may come from a
    /// session of the same principal that was started with the token. The model cannot predict
    /// this, because it depends on uses that the store has recorded and on deletions that it has
    /// forgotten.
    fn inheritable(&self, who: Principal, token: &str) -> Vec<Fields> {
        let own = match self.opens(Some(token)) {
            Opens::Replaced(_) => Self::inherited(who, &self.0[&id(token)]),
            _ => None,
        };
        self.with_lost(who, own.unwrap_or_default(), token)
    }

    /// Returns the possible fields of a guest's session after a sign-in. The sign-in adds only
    /// fields that the session does not have.
    fn completed(&self, who: Principal, session: &Record) -> Vec<Fields> {
        let add = |origin: &String| {
            let lost = self.inheritable(who, origin);
            lost.into_iter().flat_map(|lost| Self::add(session.fields, &[lost]))
        };
        let own = [session.fields];
        own.into_iter().chain(session.origin.iter().flat_map(add)).collect()
    }

    /// Adds the fields of the sessions of a principal that were started with a token.
    fn with_lost(&self, who: Principal, own: Fields, token: &str) -> Vec<Fields> {
        let attempts = self.1.iter().filter(|(former, by, _)| *former == id(token) && *by == who);
        let attempts = attempts.filter_map(|(.., id)| self.0.get(id));
        let is_later =
            |it: &&Record| it.origin.as_ref().is_some_and(|origin| id(origin) == id(token));
        let sessions = attempts.chain(self.0.values().filter(is_later));
        let live = sessions.filter(|it| it.deleted.is_none());
        let owned = live.filter(|it| it.owner.is_some_and(|(owner, _)| owner == who));
        let lost: Vec<Fields> = owned.map(|it| it.fields).collect();
        Self::add(own, &lost)
    }

    /// Returns fields to which each missing one is added from any of the lost sessions, or not at
    /// all.
    fn add(own: Fields, lost: &[Fields]) -> Vec<Fields> {
        let values = |get: fn(&Fields) -> usize| match get(&own) {
            0 => [0].into_iter().chain(lost.iter().map(get)).collect(),
            own => vec![own],
        };
        let (carts, desks) = (values(|it| it.cart), values(|it| it.desk));
        let with = |cart: &usize| {
            let cart = *cart;
            desks.iter().map(move |desk| Fields { cart, desk: *desk, ..own })
        };
        carts.iter().flat_map(with).collect()
    }

    /// Returns the fields that a sign-in with the former secret of a session keeps. `None` if it
    /// may take over nothing from that session.
    fn inherited(who: Principal, former: &Record) -> Option<Fields> {
        match former.owner {
            _ if former.deleted.is_some() => None,
            // The user clicked twice, or the answer was lost.
            Some((owner, _)) if owner == who => Some(former.fields),
            Some(_) => None,
            // A guest did not get the answer of a rotation.
            None => Some(Fields { user: None, admin: None, ..former.fields }),
        }
    }

    /// Applies an operation that was answered with 200.
    fn apply(
        &mut self,
        operation: Operation,
        token: Option<&str>,
        fresh: Option<&str>,
        span: Span,
        inherited: Option<Fields>,
    ) {
        let opens = self.opens(token);
        let former = token.map(id).filter(|_| matches!(opens, Opens::Live));
        let session = match (&former, fresh) {
            (Some(former), _) => former.clone(),
            (None, Some(fresh)) => id(fresh),
            (None, None) => return,
        };
        if let (Operation::SignIn { who, .. }, Opens::Replaced(_) | Opens::Unknown, Some(token)) =
            (operation, opens, token)
        {
            self.1.push((id(token), who, session.clone()));
        }
        let record = self.0.entry(session).or_insert_with(|| Record {
            current: fresh.unwrap_or_default().to_owned(),
            former: None,
            deleted: None,
            owner: None,
            fields: Fields::default(),
            origin: token.map(str::to_owned),
            is_new: true,
        });
        record.fields = inherited.unwrap_or(record.fields);
        if let (Some(fresh), Some(_)) = (fresh, &former) {
            let replaced = std::mem::replace(&mut record.current, fresh.to_owned());
            record.former = Some((replaced, span));
        }
        let Record { owner, fields, is_new, .. } = record;
        match operation {
            Operation::SignIn { who, level, keeps } => {
                *is_new = false;
                if owner.is_some_and(|(owner, _)| owner != who) && !keeps {
                    *fields = Fields::default();
                }
                *owner = Some((who, level));
                *fields.principal(who.schema) = Some(who.id);
            }
            Operation::Remove(schema) | Operation::Take(schema) => {
                *fields.principal(schema) = None;
                *owner = owner.filter(|(owner, _)| owner.schema != schema);
            }
            Operation::SetCart(number) => fields.cart = number,
            Operation::SetDesk(number) => fields.desk = number,
            Operation::Delete => {
                (record.deleted, record.fields) = (Some(span), Fields::default());
            }
            Operation::Regenerate => {}
            Operation::RevokeOthers => {
                if let Some((who, _)) = *owner {
                    let mut others = self.owned_by(who);
                    others.retain(|id| Some(id) != former.as_ref());
                    self.revoke(&others);
                }
            }
        }
    }
}

struct Run<S> {
    store: Arc<S>,
    random: Random,
    model: Model,
    clients: [Client; 2],
    /// Every token that a client has had.
    tokens: Vec<String>,
}

impl<S: Store> Run<S> {
    fn principal(&mut self) -> Principal {
        PRINCIPALS[self.random.below(PRINCIPALS.len())]
    }

    fn schema(&mut self) -> Schema {
        if self.random.percent(50) { Schema::User } else { Schema::Admin }
    }

    fn sessions(&self, who: Principal) -> PrincipalSessions {
        match who.schema {
            Schema::User => Shop::sessions(&self.store).by_user(&who.id),
            Schema::Admin => Office::sessions(&self.store).by_admin(&who.id),
        }
    }

    fn operation(&mut self) -> Operation {
        match self.random.below(20) {
            0..7 => Operation::SignIn {
                who: self.principal(),
                level: self.random.below(4) as u8,
                keeps: self.random.percent(20),
            },
            7..9 => Operation::Remove(self.schema()),
            9 => Operation::Take(self.schema()),
            10..13 => Operation::SetCart(1 + self.random.below(99)),
            13..16 => Operation::SetDesk(1 + self.random.below(99)),
            16..18 => Operation::Regenerate,
            18 => Operation::Delete,
            _ => Operation::RevokeOthers,
        }
    }

    /// Sends an operation, and compares its answer with the model.
    async fn send(&mut self, client: usize, operation: Operation) {
        let (client, token) = (self.clients[client].clone(), self.clients[client].token());
        let (token, opens) = (token.as_deref(), self.model.opens(token.as_deref()));
        let others = match (operation, self.model.owner(token)) {
            (Operation::RevokeOthers, Some((who, _))) => self.model.owned_by(who).len() - 1,
            _ => 0,
        };
        let sent = Instant::now();
        let reply = client.get(&operation.path()).await;
        let span = Span::since(sent);
        let got = (reply.status, cookie(&reply, token));
        let is_late = match opens {
            Opens::Replaced(at) | Opens::ReplacedTwice(at) | Opens::Deleted(at) => {
                at.makes_late(&span)
            }
            Opens::Live | Opens::Unknown | Opens::Nothing => Some(false),
        };
        // On a slow machine, the test cannot know whether the request was late.
        let expected = match is_late {
            Some(is_late) => Model::predict(operation, opens, is_late),
            None if got == Model::predict(operation, opens, true) => got,
            None => Model::predict(operation, opens, false),
        };
        assert_eq!(got, expected, "{operation:?} with a token that is {opens:?}");
        if matches!(operation, Operation::RevokeOthers) {
            assert_eq!(reply.text(), others.to_string());
        }
        let fresh = client.token().filter(|fresh| Some(&**fresh) != token);
        let mut inherited = None;
        if let (Operation::SignIn { who, .. }, Some(token), Some(fresh)) =
            (operation, token, &fresh)
        {
            let possible = match self.model.0.get(&id(fresh)) {
                Some(session) if session.is_new => self.model.completed(who, session),
                Some(_) => Vec::new(),
                None => self.model.inheritable(who, token),
            };
            if !possible.is_empty() {
                inherited = Some(self.inherited(who, &id(fresh), &possible).await);
            }
        }
        if reply.status == StatusCode::OK {
            self.model.apply(operation, token, fresh.as_deref(), span, inherited);
        }
        self.tokens.extend(fresh);
    }

    /// Returns the fields of a session after a sign-in. They have to be among the possible ones.
    async fn inherited(&self, who: Principal, session: &str, possible: &[Fields]) -> Fields {
        let page = self.sessions(who).list((Shop::CART, Office::DESK), None, 1000).await.unwrap();
        let listed = page.sessions.into_iter().find(|listed| listed.id.to_string() == session);
        let fields = listed.expect("the session should be listed").fields;
        let found = (fields.read(Shop::CART).unwrap(), fields.read(Office::DESK).unwrap());
        let it = possible.iter().find(|fields| (fields.cart, fields.desk) == found);
        *it.unwrap_or_else(|| panic!("{found:?} should be one of {possible:?}"))
    }

    /// Revokes one session of a principal, or all of them.
    async fn revoke(&mut self) {
        let who = self.principal();
        let (sessions, mut owned) = (self.sessions(who), self.model.owned_by(who));
        if self.random.percent(30) {
            assert_eq!(sessions.revoke_all().await.unwrap(), owned.len());
        } else {
            // The id may belong to a session of another principal, or to one that has ended.
            let ids: Vec<String> = self.tokens.iter().map(|token| id(token)).collect();
            let Some(one) = self.random.choose(&ids) else { return };
            owned.retain(|id| id == one);
            assert_eq!(sessions.revoke(&one.parse().unwrap()).await.unwrap(), owned.len() == 1);
        }
        self.model.revoke(&owned);
    }

    /// Compares everything that a client can observe with the model.
    async fn check(&mut self) {
        for client in &self.clients {
            let token = client.token();
            assert_eq!(client.text("/who").await, self.model.who(token.as_deref()));
            assert_eq!(client.token(), token, "a read should set and remove no cookie");
            let (schema, level) = (
                if self.random.percent(50) { Schema::User } else { Schema::Admin },
                1 + self.random.below(3) as u8,
            );
            let owner = self.model.owner(token.as_deref());
            let is_met = owner.is_some_and(|(who, own)| who.schema == schema && own >= level);
            let expected = if is_met { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            let guarded = client.get(&format!("/aal/{schema}/{level}")).await;
            assert_eq!(guarded.status, expected, "{schema}, level {level}, owner {owner:?}");
        }
        if let Some(token) = self.random.choose(&self.tokens) {
            let thief = self.clients[0].stranger();
            thief.plant("__Host-id", token);
            assert_eq!(
                thief.text("/who").await,
                self.model.who(Some(token)),
                "an old cookie should show what the model predicts"
            );
        }
        for who in PRINCIPALS {
            let page = self.sessions(who).list((Shop::CART, Office::DESK), None, 1000).await;
            let listed = page.unwrap().sessions.into_iter().map(|session| {
                let cart = session.fields.read(Shop::CART).unwrap();
                (session.id.to_string(), cart, session.fields.read(Office::DESK).unwrap())
            });
            let owned = self.model.owned_by(who).into_iter().map(|id| {
                let Fields { cart, desk, .. } = self.model.0[&id].fields;
                (id, cart, desk)
            });
            assert_eq!(listed.collect::<BTreeSet<_>>(), owned.collect(), "{who:?}");
        }
    }
}

/// Returns the cookie of a reply to a request with that token.
fn cookie(reply: &Reply, token: Option<&str>) -> Cookie {
    match &reply.set_cookies()[..] {
        [] => Cookie::Nothing,
        [cookie] if cookie.value().is_empty() => Cookie::Removed,
        [cookie] if token.is_some_and(|token| id(token) == id(cookie.value())) => Cookie::Rotated,
        [_] => Cookie::New,
        cookies => panic!("several cookies: {cookies:?}"),
    }
}

/// Runs the random operations of a seed.
pub async fn every_sign_in_is_as_the_model_predicts<S: Store>(
    store: Arc<S>,
    time: Time,
    seed: u64,
) {
    println!("RUTS_SEED={seed}");
    let client = Client::new(routes().layer(SessionLayer::new(&store)));
    let mut run = Run {
        store,
        random: Random::new(seed),
        model: Model::default(),
        clients: [client.stranger(), client.stranger()],
        tokens: Vec::new(),
    };
    for step in 0..STEPS {
        let (client, action) = (run.random.below(2), run.random.below(20));
        match action {
            0 => {
                println!("{step}: client {client} gets the cookie of the other one");
                match run.clients[1 - client].token() {
                    Some(token) => run.clients[client].plant("__Host-id", &token),
                    None => run.clients[client].forget("__Host-id"),
                }
            }
            1 => {
                println!("{step}: a revocation");
                run.revoke().await;
            }
            2 if time == Time::Paused => {
                println!("{step}: no request counts as late now");
                tokio::time::sleep(LONG_AGO).await;
            }
            _ => {
                let operation = run.operation();
                println!("{step}: client {client}: {operation:?}");
                run.send(client, operation).await;
            }
        }
        run.check().await;
    }
}
