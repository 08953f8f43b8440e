//! A network that loses answers, each with a probability of one half: [`LossyNetwork`], a proxy in
//! front of a shop.
//!
//! From requests and responses, the proxy derives which user each cookie belongs to. It checks
//! every page that the shop returns, even if the browser does not receive the page.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ruts_tests_support::Random;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

use crate::{chromium::Result, shop::Shop};

/// The name of the cookie in development mode.
const COOKIE: &str = "dev-id=";

/// A proxy in front of a shop.
pub(crate) struct LossyNetwork {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    random: Random,
    loses: bool,
    lost: usize,
    pages: usize,
    /// The user of each token that is valid.
    users: HashMap<String, Option<String>>,
    /// The number of items that each session is known to hold.
    items: HashMap<String, usize>,
    /// For each session: how many sign-ins and sign-outs began, plus how many were answered.
    auth_steps: HashMap<String, usize>,
    faults: Vec<String>,
}

/// A request, as far as the checks need it.
struct Request {
    line: String,
    token: Option<String>,
    body: String,
}

/// The expected content of a page, unless a sign-in or sign-out of the same session overlaps its
/// request.
struct Expected {
    auth_steps: usize,
    user: Option<String>,
    items: usize,
}

impl LossyNetwork {
    /// Starts a proxy that loses answers at random.
    pub(crate) async fn start(shop: &Shop, random: Random) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://localhost:{}", listener.local_addr()?.port());
        let state = Arc::new(Mutex::new(State {
            random,
            loses: true,
            lost: 0,
            pages: 0,
            users: HashMap::new(),
            items: HashMap::new(),
            auth_steps: HashMap::new(),
            faults: Vec::new(),
        }));
        let (address, shared) = (shop.address(), Arc::clone(&state));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (address, state) = (address.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let _ = serve(client, &address, &state).await;
                });
            }
        });
        Ok(Self { url, state })
    }

    /// Stops losing answers.
    pub(crate) fn stop_losing(&self) {
        lock(&self.state).loses = false;
    }

    /// Returns the number of checked pages, the number of lost answers, and the faults that were
    /// found.
    pub(crate) fn report(&self) -> (usize, usize, Vec<String>) {
        let state = lock(&self.state);
        (state.pages, state.lost, state.faults.clone())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut client: TcpStream, shop: &str, state: &Mutex<State>) -> Result<()> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let length = header(&text, "content-length").and_then(|length| length.parse().ok());
    while bytes.len() < head + length.unwrap_or(0) {
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    let mut shop = TcpStream::connect(shop).await?;
    let line = text.lines().next().unwrap_or_default().to_owned();
    let sent =
        [text.replace("Connection: keep-alive", "Connection: close").as_bytes(), &bytes[head..]]
            .concat();
    if line.starts_with("GET /session/") || line.starts_with("GET /static/") {
        shop.write_all(&sent).await?;
        copy(&mut shop, &mut client).await?;
        return Ok(());
    }
    let cookies = header(&text, "cookie").unwrap_or_default();
    let token = cookies.split("; ").find_map(|cookie| cookie.strip_prefix(COOKIE));
    let request = Request {
        line,
        token: token.map(str::to_owned),
        body: String::from_utf8_lossy(&bytes[head..]).into_owned(),
    };
    // The expected state is recorded before the shop can answer, because an answer need not reflect
    // requests that are sent later.
    let expected = lock(state).begin(&request);
    shop.write_all(&sent).await?;
    let mut answer = Vec::new();
    shop.read_to_end(&mut answer).await?;
    let is_lost = lock(state).finish(&request, &expected, &String::from_utf8_lossy(&answer));
    if !is_lost {
        client.write_all(&answer).await?;
    }
    Ok(())
}

/// Returns the value of a header.
fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().skip(1).take_while(|line| !line.is_empty()).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Returns the text between two other texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

/// Returns the part of a token that names its session.
fn id(token: &str) -> &str {
    token.split('.').next().unwrap_or_default()
}

impl Request {
    fn is(&self, method_and_path: &str) -> bool {
        self.line.starts_with(&format!("{method_and_path} "))
    }

    fn changes_user(&self) -> bool {
        self.is("POST /sign-in") || self.is("POST /sign-out")
    }
}

impl State {
    fn begin(&mut self, request: &Request) -> Expected {
        let Some(token) = &request.token else {
            return Expected { auth_steps: 0, user: None, items: 0 };
        };
        let auth_steps = self.auth_steps.entry(id(token).to_owned()).or_default();
        if request.changes_user() {
            *auth_steps += 1;
        }
        Expected {
            auth_steps: *auth_steps,
            user: self.users.get(token).cloned().flatten(),
            items: self.items_of(token),
        }
    }

    /// Returns the number of items that the session of a token is known to hold.
    fn items_of(&self, token: &str) -> usize {
        let is_live = self.users.contains_key(token);
        self.items.get(id(token)).copied().filter(|_| is_live).unwrap_or_default()
    }

    /// Checks an answer and updates the expected state. Returns whether the answer is to be lost.
    fn finish(&mut self, request: &Request, expected: &Expected, answer: &str) -> bool {
        let Request { line, token, body } = request;
        let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
        if !["2", "3", "4"].iter().any(|class| status.starts_with(class)) {
            self.faults.push(format!("{line}: {}", answer.lines().next().unwrap_or_default()));
        }
        if let Some(token) = token
            && request.changes_user()
        {
            *self.auth_steps.entry(id(token).to_owned()).or_default() += 1;
        }
        let is_overlapped = self.is_overlapped(request, expected);
        let set = header(answer, "set-cookie").and_then(|cookie| cookie.strip_prefix(COOKIE));
        let set = set.map(|cookie| cookie.split(';').next().unwrap_or_default());
        match set {
            Some("") if !request.is("POST /sign-out") => {
                self.faults.push(format!("{line}: the cookie was removed"));
            }
            Some("") => {}
            Some(new) => self.learn_token(request, new),
            None => {}
        }
        if request.is("POST /sign-out")
            && status == "303"
            && let Some(token) = token
        {
            self.users.remove(token);
        }
        // A sign-in by another user may have removed the item immediately afterwards.
        let is_added = request.is("POST /cart") && status == "303" && body.contains("item=");
        if is_added && !is_overlapped {
            let session = set.filter(|new| !new.is_empty()).or(token.as_deref());
            *self.items.entry(id(session.unwrap_or_default()).to_owned()).or_default() += 1;
        }
        let is_page = status == "200" && line.starts_with("GET ") && answer.contains("<nav ");
        if is_page && !is_overlapped {
            self.check_page(request, expected, answer);
        }
        let is_lost = self.loses && self.random.percent(50);
        self.lost += usize::from(is_lost);
        is_lost
    }

    /// Returns whether a sign-in or sign-out of the same session overlaps a request.
    fn is_overlapped(&self, request: &Request, expected: &Expected) -> bool {
        let session = id(request.token.as_deref().unwrap_or_default());
        let steps = self.auth_steps.get(session).copied().unwrap_or_default();
        // If the number is odd, a sign-in or sign-out is in progress.
        steps != expected.auth_steps || !steps.is_multiple_of(2)
    }

    fn learn_token(&mut self, request: &Request, new: &str) {
        let former = request.token.as_deref();
        let of_former = former.and_then(|former| self.users.get(former)).cloned().flatten();
        if !request.is("POST /sign-in") {
            let is_same = former.is_some_and(|former| id(former) == id(new));
            self.users.insert(new.to_owned(), of_former.filter(|_| is_same));
            return;
        }
        let name = between(&request.body, "name=", "&").unwrap_or_default().to_owned();
        if let Some(former) = former {
            self.users.remove(former);
            if id(former) == id(new) && of_former.is_some_and(|user| user != name) {
                self.items.remove(id(new));
            }
        }
        self.users.insert(new.to_owned(), Some(name));
    }

    /// Checks that a page shows the user of the cookie, and all that was put into the cart.
    fn check_page(&mut self, request: &Request, expected: &Expected, page: &str) {
        let Expected { user, items, .. } = expected;
        self.pages += 1;
        let shown = between(page, "<button class=\"link\">Sign out ", "</button>");
        if shown != user.as_deref() {
            self.faults.push(format!("{}: shows {shown:?} to {user:?}", request.line));
        }
        let count = between(page, "class=\"count\" aria-label=\"", " items\"");
        let count = count.and_then(|count| count.parse().ok());
        if count.is_none_or(|count: usize| count < *items) {
            self.faults.push(format!("{}: shows {count:?} of {items} items", request.line));
        }
    }
}
