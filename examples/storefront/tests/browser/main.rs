//! Tests the shop in a real browser, on every store.

mod chromium;
mod lossy;
mod shop;

use std::{
    future::Future,
    path::Path,
    sync::LazyLock,
    time::{Duration, Instant},
};

use chromiumoxide::cdp::browser_protocol::network::CookieSameSite;
use ruts_tests_support::{Random, seeds};
use serde_json::json;
use tokio::{runtime::Runtime, sync::OnceCell, time::timeout};

use crate::{
    chromium::{Chromium, Result, Tab, Visitor},
    lossy::LossyNetwork,
    shop::{Shop, Store, round_robin, unique},
};

/// One runtime for all tests, because the browser outlives each of them.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new().unwrap_or_else(|error| panic!("{error}")));

fn run(test: impl Future<Output = Result<()>>) {
    if let Err(error) = RUNTIME.block_on(test) {
        panic!("{error}");
    }
}

async fn chromium() -> Result<&'static Chromium> {
    static CHROMIUM: OnceCell<Chromium> = OnceCell::const_new();
    CHROMIUM.get_or_try_init(|| Chromium::start(true)).await
}

async fn sign_in(tab: &Tab, name: &str) -> Result<()> {
    tab.open("/sign-in").await?;
    tab.fill("#name", name).await?;
    tab.fill("#password", "open sesame").await?;
    tab.click("main form button").await?;
    tab.shows(&format!("Welcome, {name}.")).await
}

async fn sign_out(tab: &Tab) -> Result<()> {
    tab.click("form[action='/sign-out'] button").await?;
    // Does not wait for the message, because another tab reloads too and may show the message
    // instead.
    tab.until("!document.body.hasAttribute('data-signed-in')").await
}

/// A guest fills a cart, signs in, and orders.
async fn a_guest_becomes_a_customer(url: &str) -> Result<()> {
    let ada = chromium().await?.visitor(url).await?;
    let tab = ada.tab("/").await?;
    assert!(ada.cookies().await?.is_empty(), "a visit should start no session");
    tab.click("button[value='tea']").await?;
    tab.shows("Tea is in your cart.").await?;
    let guest = ada.cookie().await?.value;
    sign_in(&tab, "ada").await?;
    assert_ne!(ada.cookie().await?.value, guest, "the sign-in should issue a new token");
    tab.open("/cart").await?;
    assert_eq!(tab.script("document.querySelector('.count-of-tea').innerText").await?, json!("1"));

    let order = "fetch('/checkout/order', {method: 'POST'}).then(answer => answer.url)";
    assert_eq!(
        tab.script(order).await?,
        json!(format!("{url}/checkout")),
        "without an address, an order should lead back to the checkout"
    );
    tab.click("a.button").await?;
    tab.fill("#name", "Ada Lovelace").await?;
    tab.fill("#street", "12 St James's Square").await?;
    tab.fill("#city", "London").await?;
    tab.click("main form button").await?;
    // The draft survives other pages.
    tab.open("/").await?;
    tab.open("/checkout").await?;
    tab.click("button[value='bicycle']").await?;
    tab.shows("1 × Tea, total € 8.90, by bicycle to Ada Lovelace").await?;
    let twice = ada.tab("/checkout").await?;
    tab.click("form[action='/checkout/order'] button").await?;
    tab.shows("Thank you. € 8.90 is on its way.").await?;
    twice.click("form[action='/checkout/order'] button").await?;
    twice.shows("Your order is already on its way.").await
}

/// Tabs that add to one cart at the same moment.
async fn parallel_tabs_lose_nothing(url: &str) -> Result<()> {
    let visitor = chromium().await?.visitor(url).await?;
    let first = visitor.tab("/").await?;
    first.click("button[value='honey']").await?;
    let second = visitor.tab("/").await?;
    let add = |item: &str| {
        let form = format!("{{method: 'POST', body: new URLSearchParams({{item: '{item}'}})}}");
        format!(
            "Promise.all(Array.from({{length: 8}}, () => fetch('/cart', {form}))) \
             .then(all => all.every(answer => answer.ok))"
        )
    };
    let (tea, bread) = (add("tea"), add("bread"));
    let (one, other) = tokio::join!(first.script(&tea), second.script(&bread));
    assert_eq!((one?, other?), (json!(true), json!(true)));
    first.open("/cart").await?;
    let counts = "[...document.querySelectorAll('td[class^=count]')].map(cell => cell.innerText)";
    assert_eq!(first.script(counts).await?, json!(["8", "1", "8"]));
    Ok(())
}

/// Two tabs ask for the message, and exactly one shows it.
async fn a_message_is_shown_once(url: &str) -> Result<()> {
    let visitor = chromium().await?.visitor(url).await?;
    let (first, second) = (visitor.tab("/").await?, visitor.tab("/").await?);
    let ask = "fetch('/').then(page => page.text()) \
               .then(text => (text.match(/is in your cart/g) ?? []).length)";
    for _ in 0..5 {
        let add = "fetch('/cart', {method: 'POST', redirect: 'manual', \
                   body: new URLSearchParams({item: 'tea'})}).then(() => true)";
        first.script(add).await?;
        let (one, other) = tokio::join!(first.script(ask), second.script(ask));
        let shown = [one?, other?];
        assert!(shown == [json!(0), json!(1)] || shown == [json!(1), json!(0)], "{shown:?}");
    }
    Ok(())
}

/// Signing out in one tab also signs out the other, and the back button shows nothing private.
async fn signing_out_ends_all_tabs(url: &str) -> Result<()> {
    let visitor = chromium().await?.visitor(url).await?;
    let tab = visitor.tab("/").await?;
    sign_in(&tab, "grace").await?;
    let other = visitor.tab("/devices").await?;
    other.shows("this one").await?;
    tab.open("/devices").await?;
    tab.shows("Your devices").await?;
    tab.open("/").await?;
    sign_out(&tab).await?;
    // The script on the page reloads the tab, and the guard redirects to the sign-in page.
    other.until("location.pathname === '/sign-in'").await?;
    tab.back().await?;
    let text = tab.text().await?;
    assert!(!text.contains("Sign out grace"), "{text}");
    tab.back().await?;
    assert_eq!(tab.script("location.pathname").await?, json!("/sign-in"));
    Ok(())
}

/// "Your devices" signs out another browser immediately.
async fn a_device_signs_out_another(url: &str) -> Result<()> {
    let chromium = chromium().await?;
    let (laptop, phone) = (chromium.visitor(url).await?, chromium.visitor(url).await?);
    let (here, there) = (laptop.tab("/").await?, phone.tab("/").await?);
    sign_in(&here, "linus").await?;
    sign_in(&there, "linus").await?;
    here.open("/devices").await?;
    let count = "document.querySelectorAll('.device').length";
    assert_eq!(here.script(count).await?, json!(2));
    assert_eq!(here.script("document.querySelectorAll('.this').length").await?, json!(1));
    here.click(".device:not(.this) button").await?;
    here.shows("That device is signed out.").await?;
    assert_eq!(here.script(count).await?, json!(1));
    there.until("!document.body.hasAttribute('data-signed-in')").await?;
    // The user can sign in there again.
    sign_in(&there, "linus").await?;
    here.open("/devices").await?;
    here.click("form[action='/devices/end-others'] button").await?;
    here.shows("One other device is signed out.").await?;
    there.until("!document.body.hasAttribute('data-signed-in')").await?;
    here.open("/devices").await?;
    here.shows("this one").await
}

/// The page for developers shows the session without its secret.
async fn the_debug_page_shows_no_secret(url: &str) -> Result<()> {
    let visitor = chromium().await?.visitor(url).await?;
    let tab = visitor.tab("/").await?;
    sign_in(&tab, "ada").await?;
    tab.open("/cart").await?;
    tab.open("/debug/session").await?;
    let text = tab.text().await?;
    let (id, secret) = split(&visitor).await?;
    assert!(text.contains(&id) && text.contains("shop.user"), "{text}");
    assert!(!text.contains(&secret), "{text}");
    let debug: serde_json::Value = serde_json::from_str(&text)?;
    // One round trip takes the message, another reads the other fields.
    assert_eq!(debug["round_trips_of_the_last_request"], json!(2), "{text}");
    tab.open("/metrics").await?;
    let metrics = tab.text().await?;
    for name in ["ruts_sign_ins_total", "ruts_sessions_created_total", "ruts_store_seconds_count"] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
    assert!(!metrics.contains(&secret) && !metrics.contains(&id));
    Ok(())
}

async fn split(visitor: &Visitor<'_>) -> Result<(String, String)> {
    let token = visitor.cookie().await?.value;
    let (id, secret) = token.split_once('.').ok_or("a token has two parts")?;
    Ok((id.to_owned(), secret.to_owned()))
}

macro_rules! stores {
    ({ $($store:ident = $kind:ident;)+ } $tests:tt) => {
        $(mod $store {
            stores!($kind $tests);
        })+
    };
    ($kind:ident { $($test:ident)+ }) => {
        $(
            #[test]
            fn $test() {
                super::run(async {
                    let shop = super::Shop::start(super::Store::$kind)?;
                    super::$test(&shop.url).await
                });
            }
        )+
    };
}

stores! {
    {
        memory = Memory;
        sqlite = Sqlite;
        redis = Redis;
        postgres = Postgres;
        layered = Layered;
    }
    {
        a_guest_becomes_a_customer
        parallel_tabs_lose_nothing
        a_message_is_shown_once
        signing_out_ends_all_tabs
        a_device_signs_out_another
        the_debug_page_shows_no_secret
    }
}

/// The same tests through two shops that share a store and take turns.
mod two_instances {
    use super::*;

    async fn open() -> Result<(Vec<Shop>, String)> {
        let name = unique();
        let shop = || Shop::start_as(Store::Layered, &name, &[]);
        let shops = vec![shop()?, shop()?];
        let url = round_robin(&shops).await?;
        Ok((shops, url))
    }

    macro_rules! each {
        ($($test:ident)+) => {
            $(
                #[test]
                fn $test() {
                    run(async {
                        let (_shops, url) = open().await?;
                        super::$test(&url).await
                    });
                }
            )+
        };
    }

    each! {
        a_guest_becomes_a_customer
        parallel_tabs_lose_nothing
        a_message_is_shown_once
        signing_out_ends_all_tabs
        a_device_signs_out_another
    }

    #[test]
    fn a_killed_instance_loses_nothing() {
        run(async {
            let (mut shops, url) = open().await?;
            let visitor = chromium().await?.visitor(&url).await?;
            let tab = visitor.tab("/").await?;
            tab.click("button[value='tea']").await?;
            sign_in(&tab, "ada").await?;
            tab.open("/cart").await?;
            shops[0].kill();
            for _ in 0..4 {
                tab.open("/cart").await?;
                assert_eq!(
                    tab.script("document.querySelector('.count-of-tea').innerText").await?,
                    json!("1")
                );
                tab.shows("Sign out ada").await?;
            }
            tab.open("/").await?;
            sign_out(&tab).await
        });
    }
}

/// Minimum time of a test with a lossy browser.
const SHORTEST: Duration = Duration::from_secs(12);
/// Minimum number of pages, and of lost answers. On a busy machine, the test takes longer to reach
/// these numbers.
const ENOUGH: usize = 10;
/// Maximum wait for a page.
const PATIENCE: Duration = Duration::from_secs(2);

/// Opens a page. The answer may be lost, so a timeout is not an error.
async fn try_page(tab: &Tab, path: &str) {
    let _ = timeout(PATIENCE, tab.open(path)).await;
}

/// Clicks a button twice, if the tab has it.
async fn click_twice(tab: &Tab, button: &str) {
    let click = "(button => button && (button.click(), button.click()))";
    let _ = tab.script(&format!("{click}(document.querySelector({}))", json!(button))).await;
}

/// A browser on a network that loses half of the answers at random: clicks twice, goes back and
/// forward, and uses old tabs. The network checks every page.
async fn a_lossy_browser(store: Store, seed: u64) -> Result<()> {
    println!("RUTS_SEED={seed}");
    let mut random = Random::new(seed);
    let shop = Shop::start(store)?;
    let network = LossyNetwork::start(&shop, random.clone()).await?;
    let visitor = chromium().await?.visitor(&network.url).await?;
    let mut tabs = vec![visitor.blank_tab().await?];
    let begun = Instant::now();
    let has_enough = || {
        let (pages, lost, faults) = network.report();
        !faults.is_empty() || (pages >= ENOUGH && lost >= ENOUGH)
    };
    while begun.elapsed() < SHORTEST || !has_enough() {
        assert!(
            begun.elapsed() < Duration::from_secs(300),
            "the browser should finish within five minutes"
        );
        let tab = &tabs[random.below(tabs.len())];
        match random.below(100) {
            0..25 => {
                let pages = ["/", "/cart", "/sign-in", "/devices", "/checkout"];
                try_page(tab, pages[random.below(pages.len())]).await;
            }
            25..55 => {
                if random.percent(60) {
                    try_page(tab, "/").await;
                }
                let item = ["tea", "bread", "honey"][random.below(3)];
                click_twice(tab, &format!("button[value='{item}']")).await;
            }
            55..70 => {
                if random.percent(70) {
                    try_page(tab, "/sign-in").await;
                }
                let name = ["ada", "grace"][random.below(2)];
                let fill = format!(
                    "document.querySelector('#name').value = '{name}'; \
                     document.querySelector('#password').value = 'open sesame'"
                );
                if tab.script(&fill).await.is_ok() {
                    click_twice(tab, "main form button").await;
                }
            }
            70..76 => click_twice(tab, "form[action='/sign-out'] button").await,
            76..84 => drop(tab.script("history.back()").await),
            84..90 => drop(tab.script("history.forward()").await),
            90..95 => drop(tab.script("location.reload(); location.reload()").await),
            _ if tabs.len() < 4 => tabs.push(visitor.blank_tab().await?),
            _ => drop(tabs.swap_remove(random.below(tabs.len()))),
        }
        tokio::time::sleep(Duration::from_millis(random.below(120) as u64)).await;
    }
    // After six seconds, a request with a replaced secret no longer counts as late. From then on,
    // no answer is lost.
    tokio::time::sleep(Duration::from_secs(6)).await;
    network.stop_losing();
    let tab = visitor.tab("/").await?;
    tab.click("button[value='tea']").await?;
    tab.shows("Fresh today").await?;
    let (_, _, faults) = network.report();
    assert!(faults.is_empty(), "RUTS_SEED={seed}: {faults:#?}");
    Ok(())
}

mod lossy_browser {
    use super::*;

    #[test]
    fn memory() {
        run(a_lossy_browser(Store::Memory, seeds(1)[0]));
    }

    #[test]
    fn sqlite() {
        run(a_lossy_browser(Store::Sqlite, seeds(1)[0]));
    }

    #[test]
    fn redis() {
        run(a_lossy_browser(Store::Redis, seeds(1)[0]));
    }

    #[test]
    fn postgres() {
        run(a_lossy_browser(Store::Postgres, seeds(1)[0]));
    }

    #[test]
    fn layered() {
        run(a_lossy_browser(Store::Layered, seeds(1)[0]));
    }
}

#[test]
fn the_cookie_has_its_attributes() {
    run(async {
        for (more, name, is_secure) in
            [(&[][..], "dev-id", false), (&["--production"], "__Host-id", true)]
        {
            let shop = Shop::start_as(Store::Memory, &unique(), more)?;
            let visitor = chromium().await?.visitor(&shop.url).await?;
            let tab = visitor.tab("/").await?;
            sign_in(&tab, "ada").await?;
            let cookie = visitor.cookie().await?;
            assert_eq!((cookie.name.as_str(), cookie.secure), (name, is_secure));
            assert!(cookie.http_only && cookie.session && cookie.path == "/");
            assert_eq!(cookie.same_site, Some(CookieSameSite::Lax));
            assert_eq!(
                tab.script("document.cookie").await?,
                json!(""),
                "no script should be able to read the cookie"
            );
            let debug = tab.script("fetch('/debug/session').then(page => page.status)").await?;
            assert_eq!(debug, json!(if is_secure { 404 } else { 200 }));
            // The message after the sign-out has started a new session.
            sign_out(&tab).await?;
            assert_ne!(visitor.cookie().await?.value, cookie.value);
        }
        Ok(())
    });
}

#[test]
fn a_browser_without_cookies_is_served() {
    run(async {
        let shop = Shop::start(Store::Memory)?;
        let chromium = Chromium::start(false).await?;
        let visitor = chromium.visitor(&shop.url).await?;
        let tab = visitor.tab("/").await?;
        tab.click("button[value='tea']").await?;
        tab.shows("Fresh today").await?;
        tab.open("/sign-in").await?;
        tab.fill("#name", "ada").await?;
        tab.fill("#password", "open sesame").await?;
        tab.click("main form button").await?;
        tab.shows("Sign in").await?;
        assert!(visitor.cookies().await?.is_empty());
        Ok(())
    });
}

/// Every control has a name, and pages fit a phone. `UPDATE=1` updates the screenshot in the
/// README.
#[test]
fn pages_are_accessible_and_fit_a_phone() {
    run(async {
        let shop = Shop::start(Store::Memory)?;
        let visitor = chromium().await?.visitor(&shop.url).await?;
        let tab = visitor.tab("/").await?;
        tab.click("button[value='tea']").await?;
        sign_in(&tab, "ada").await?;
        let other = chromium().await?.visitor(&shop.url).await?;
        sign_in(&other.tab("/").await?, "ada").await?;
        let folder = match std::env::var_os("UPDATE") {
            Some(_) => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs"),
            None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("storefront"),
        };
        for page in ["/", "/cart", "/sign-in", "/devices", "/checkout"] {
            tab.size(1024, 620).await?;
            tab.open(page).await?;
            let elements = tab.accessible().await?;
            for role in ["main", "navigation", "heading"] {
                assert!(
                    elements.iter().any(|(other, _)| other == role),
                    "{page} should have a {role}"
                );
            }
            for (role, name) in elements {
                let is_control = ["button", "link", "textbox"].contains(&role.as_str());
                assert!(!is_control || !name.is_empty(), "{page}: each {role} should have a name");
            }
            if page == "/devices" {
                tab.size(1024, 480).await?;
                tab.screenshot(&folder.join("storefront.png")).await?;
            }
            tab.size(360, 740).await?;
            let fits = "document.documentElement.scrollWidth <= window.innerWidth";
            assert_eq!(
                tab.script(fits).await?,
                json!(true),
                "{page} should fit the width of a phone"
            );
        }
        Ok(())
    });
}
