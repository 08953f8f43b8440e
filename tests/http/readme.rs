//! Runs the security checks on the application of the README.

use axum::{
    Router,
    routing::{get, post},
};
use ruts::{
    Error, SessionLayer, session,
    store::memory::MemoryStore,
    testing::{Client, SessionSecurity, check_session_security},
};

#[session]
pub struct Shop {
    /// The signed-in user. Writing it replaces the session's secret: no session fixation.
    #[field(principal)]
    user: u64,
    #[field(ttl = "7d", default)]
    cart: Vec<String>,
    /// Read once.
    #[field(ttl = "10m", once)]
    flash: String,
    #[field(default)]
    visits: u64,
}

async fn home(shop: Shop) -> Result<String, Error> {
    let visits = shop
        .visits()
        .update(|n| {
            *n += 1;
            *n
        })
        .await?; // atomic under parallel requests
    let cart = shop.cart().await?; // read together with the rest
    Ok(match shop.user().await? {
        Some(user) => format!("user {user}: {} items, visit {visits}", cart.len()),
        None => format!("guest, visit {visits}"),
    })
}

async fn sign_in(shop: Shop) -> Result<(), Error> {
    shop.edit().user(&7).flash("Welcome!").commit().await // one write, and a new secret
}

async fn sign_out(shop: Shop) -> Result<(), Error> {
    shop.session().delete().await // in the store and in the browser
}

fn client() -> Client {
    let app: Router = Router::new()
        .route("/", get(home))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .layer(SessionLayer::new(MemoryStore::new()));
    Client::new(app)
}

/// Returns the text without spaces and trailing commas, which depend on the line width.
fn squeezed(text: &str) -> String {
    text.replace(",\n", "\n").split_whitespace().collect()
}

#[test]
fn this_file_holds_the_code_of_the_readme() {
    let readme = include_str!("../../README.md");
    let code = readme.split("```").find_map(|block| block.strip_prefix("rust\n")).unwrap();
    let (_, code) = code.split_once("#[session]").unwrap();
    let here = squeezed(include_str!("readme.rs"));
    for item in code.split("\n\n").map(squeezed) {
        assert!(here.contains(&item), "this file should contain the item of the README: {item}");
    }
}

/// The application breaks two rules, which need a decision by its author. It starts sessions to
/// count the visits of guests, and it does not clear other data of the site from the browser.
#[tokio::test]
async fn the_application_of_the_readme_breaks_only_rules_that_it_could_keep() {
    let scenario = SessionSecurity::new(
        client(),
        "/",
        |client| async move { client.post("/sign-in", "").await },
        |client| async move { client.post("/sign-out", "").await },
    )
    .private_if(|reply| reply.text().starts_with("user 7"))
    .guest(|client| async move { client.get("/").await });
    let report = check_session_security(&scenario).await;
    let broken: Vec<&str> = report.broken().map(|finding| finding.rule).collect();
    let expected =
        ["a visit starts no session", "a sign-out clears the browser's data of the site"];
    assert_eq!(broken, expected, "\n{report}");
}
