//! Tests of mistakes of an application that compile: where they are reported, and with which text.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use ruts::{
    CookieOptions, Error, Session, SessionLayer, Ttl,
    auth::Assurance,
    cookie::SameSite,
    field::{Field, FieldSpec},
    http::{Extensions, HeaderName},
    layer::TokenSource,
    session,
    session::{LayerName, TypedSession},
    store::{OnLimit, memory::MemoryStore},
    testing::Client,
};
use ruts_tests_support::{ClientExt, Log, new_client};

struct Staff;

impl LayerName for Staff {
    const NAME: &str = "staff";
}

#[session]
struct Shop {
    cart: u8,
}

#[session(layer = Staff)]
struct Desk {
    employee: u8,
}

#[tokio::test]
async fn a_missing_layer_is_explained() {
    let order = "a layer covers only the routes that were added before `.layer(..)`";
    let text = |error: Error| error.to_string();
    let none = Extensions::new();
    let unnamed = format!("no `SessionLayer` wraps this handler: {order}");
    assert_eq!(Shop::from_extensions(&none).map_err(text).unwrap_err(), unnamed);
    assert_eq!(Session::<MemoryStore>::from_extensions(&none).map_err(text).unwrap_err(), unnamed);
    let staff = std::any::type_name::<Staff>();
    let named = format!("no `SessionLayer` with the name `{staff}` wraps this handler: {order}");
    assert_eq!(Desk::from_extensions(&none).map_err(text).unwrap_err(), named);

    let (log, _guard) = Log::start();
    let handler = |shop: Shop| async move { shop.set_cart(&1).await };
    let layer = SessionLayer::new(MemoryStore::new());
    let app = Router::new().route("/in", get(handler)).layer(layer).route("/late", get(handler));
    let client = new_client(app);
    client.text("/in").await;
    assert_eq!(client.get("/late").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(log.text().contains(&unnamed), "{}", log.text());
}

#[tokio::test]
async fn an_optional_session_is_absent_only_without_a_layer() {
    type All = (Option<Shop>, Option<Session>, Option<Desk>);
    let handler = |(shop, session, desk): All| async move {
        format!("{} {} {}", shop.is_some(), session.is_some(), desk.is_some())
    };
    let layer = SessionLayer::new(MemoryStore::new());
    let app = Router::new().route("/in", get(handler)).layer(layer).route("/out", get(handler));
    let client = new_client(app);
    assert_eq!(
        client.text("/in").await,
        "true true false",
        "the extractors should work inside the layer, even for a client without a session"
    );
    assert_eq!(client.text("/out").await, "false false false");
}

#[tokio::test]
async fn an_optional_session_of_another_store_is_an_error() {
    struct Other;
    let handler = |session: Option<Session<Other>>| async move { session.is_some().to_string() };
    let layer = SessionLayer::new(MemoryStore::new());
    let client = new_client(Router::new().route("/", get(handler)).layer(layer));
    assert_eq!(client.get("/").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

/// Returns the file in which a call panics. `try_from` claims the schema, like the extractor.
/// Otherwise lists by an indexed field, sign-ins after a lost response, and `remove` by name would
/// not know the schema.
#[tokio::test]
async fn a_converted_session_follows_its_schema() {
    #[session]
    struct Office {
        #[field(principal)]
        clerk: u8,
        #[field(index)]
        tenant: String,
    }
    let store = Arc::new(MemoryStore::new());
    let tenant =
        |session: Session| async move { Office::try_from(session)?.set_tenant("acme").await };
    let enter = |session: Session| async move { Office::try_from(session)?.set_clerk(&7).await };
    let leave = |session: Session| async move {
        session.remove("clerk").await?;
        Ok::<_, Error>(format!("{:?}", session.signed_in().await?.is_some()))
    };
    let app = Router::new()
        .route("/tenant", get(tenant))
        .route("/in", get(enter))
        .route("/leave", get(leave))
        .layer(SessionLayer::new(&store));
    let client = new_client(app);
    client.text("/tenant").await;
    client.text("/in").await;
    let found = Office::sessions(&store).by_tenant("acme").list((), None, 9).await.unwrap();
    assert_eq!(found.sessions.len(), 1);
    assert_eq!(client.text("/leave").await, "false");
}

#[tokio::test]
async fn a_session_of_another_layer_is_not_converted() {
    let converted =
        |session: Session| async move { Desk::try_from(session)?.set_employee(&2).await };
    let store = Arc::new(MemoryStore::new());
    let app = Router::new()
        .route("/", get(converted))
        .layer(SessionLayer::new(&store))
        .layer(SessionLayer::new(&store).named::<Staff>());
    let (log, _guard) = Log::start();
    assert_eq!(new_client(app).get("/").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    let text = "the session is of the unnamed layer, but its `#[session]` struct declares the layer `staff`";
    assert!(log.text().contains(text), "{}", log.text());
}

#[tokio::test]
async fn layers_that_share_a_cookie_or_header_are_reported() {
    let visit = |shop: Shop| async move { shop.set_cart(&1).await };
    let base = || SessionLayer::new(MemoryStore::new());
    type Case = (&'static str, fn(SessionLayer) -> SessionLayer, bool);
    let cases: [Case; 4] = [
        (
            "the same name",
            |layer| layer.with_cookie_options(CookieOptions::build().name("shop")),
            true,
        ),
        ("the default names", |layer| layer, false),
        ("the header", |layer| layer.token_source(TokenSource::Header), true),
        ("either", |layer| layer.token_source(TokenSource::Both), true),
    ];
    for (name, options, is_reported) in cases {
        let layer = options(base());
        let app =
            Router::new().route("/", get(visit)).layer(layer.clone()).layer(layer.named::<Staff>());
        let (log, _guard) = Log::start();
        let client = new_client(app);
        client.text("/").await;
        client.text("/").await;
        let reports = log.text().matches("two nested session layers read the same cookie").count();
        assert_eq!(reports, usize::from(is_reported), "{name}: {}", log.text());
    }
}

/// The options say nothing without a sign-in. A handler that proves a second factor could forget
/// the principal.
#[tokio::test]
async fn options_of_a_sign_in_need_a_sign_in() {
    #[session]
    struct Account {
        #[field(principal)]
        user: u8,
        #[field(default)]
        visits: u8,
    }
    async fn commit(edit: AccountEdit<'_>) -> String {
        format!("{:?}", edit.commit().await)
    }
    let handler = |account: Account| async move {
        let edit = || account.edit();
        let minute = Duration::from_secs(60);
        [
            commit(edit().assurance(Assurance::Aal2)).await,
            commit(edit().visits(&1).remember(minute)).await,
            commit(edit().visits(&1).until_browser_closes()).await,
            commit(edit().remove_user().keep_fields()).await,
            commit(edit().stamp("hash")).await,
            commit(edit().visits(&2).user(&7).assurance(Assurance::Aal2)).await,
            format!("{:?}", account.visits().await),
        ]
        .join(" ")
    };
    let app = Router::new().route("/", get(handler)).layer(SessionLayer::new(MemoryStore::new()));
    let none = "Err(NoSignIn)";
    let expected = format!("{none} {none} {none} {none} {none} Ok(()) Ok(2)");
    assert_eq!(new_client(app).text("/").await, expected);
}

fn panics_in(call: impl FnOnce()) -> Option<String> {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = Arc::new(Mutex::new(None));
    let found = Arc::clone(&file);
    let (this, former) = (std::thread::current().id(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == this {
            let place = info.location().map(|location| location.file().to_owned());
            *found.lock().unwrap_or_else(PoisonError::into_inner) = place;
        }
    }));
    let outcome = catch_unwind(AssertUnwindSafe(call));
    std::panic::set_hook(former);
    assert!(outcome.is_err(), "the call should panic");
    file.lock().unwrap_or_else(PoisonError::into_inner).take()
}

type Call<'a> = Box<dyn FnOnce() + 'a>;

#[test]
fn a_panic_of_a_builder_points_to_its_caller() {
    const SPEC: FieldSpec = FieldSpec::new("a");
    let layer = || SessionLayer::new(MemoryStore::new());
    let zero = Duration::ZERO;
    let calls: [(&str, Call<'_>); 14] = [
        ("idle_timeout", Box::new(|| drop(layer().idle_timeout(zero)))),
        ("absolute_timeout", Box::new(|| drop(layer().absolute_timeout(zero)))),
        ("renew_every", Box::new(|| drop(layer().renew_every(zero)))),
        ("max_sessions", Box::new(|| drop(layer().max_sessions(0, OnLimit::Reject)))),
        ("sign_in_page", Box::new(|| drop(layer().sign_in_page("https://evil.example")))),
        (
            "with_cookie_options",
            Box::new(|| {
                let options = ruts::CookieOptions::build().same_site(SameSite::None).secure(false);
                drop(layer().with_cookie_options(options));
            }),
        ),
        ("development_on", Box::new(|| drop(layer().development_on(["*.local"])))),
        ("Ttl::from_secs", Box::new(|| _ = Ttl::from_secs(0))),
        ("Ttl::from_millis", Box::new(|| _ = Ttl::from_millis(0))),
        ("Ttl::from_duration", Box::new(|| _ = Ttl::from_duration(zero))),
        ("FieldSpec::new", Box::new(|| _ = FieldSpec::new("~"))),
        (
            "FieldSpec::with_ttl",
            Box::new(|| {
                let policy = ruts::store::CachePolicy::MaxAge(Ttl::from_secs(2));
                let _ = SPEC.with_cache_policy(policy).with_ttl(Ttl::from_secs(1));
            }),
        ),
        ("Field::principal", Box::new(|| _ = Field::<u8>::new(&SPEC).principal())),
        (
            "Client::with_header",
            Box::new(|| {
                let name = HeaderName::from_static("a");
                drop(Client::new(Router::<()>::new()).with_header(name, "\n"));
            }),
        ),
    ];
    for (name, call) in calls {
        assert_eq!(panics_in(call).as_deref(), Some(file!()), "{name}");
    }
}
