#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

//! Instances of several releases serve the same users, while they are replaced one by one: through
//! a deploy, a rollback and another deploy.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

const USERS: usize = 4;
/// Number of rounds of each user between two replacements.
const ROUNDS: usize = 10;

const BEFORE: &str = env!("CARGO_BIN_EXE_before");
const BRIDGE: &str = env!("CARGO_BIN_EXE_bridge");
const AFTER: &str = env!("CARGO_BIN_EXE_after");

/// A running instance of a release.
struct Instance {
    release: &'static str,
    process: Child,
    port: u16,
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Instance {
    /// Starts an instance, with the sessions and the log in a folder.
    fn start(release: &'static str, folder: &Path) -> Self {
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut process = Command::new(release)
            .arg(folder.join("sessions.db"))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { release, process, port: port.trim().parse().unwrap() }
    }

    fn send(&self, request: &str, cookie: &str) -> Reply {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let port = self.port;
        write!(
            connection,
            "{request} HTTP/1.1\r\nhost: localhost:{port}\r\ncookie: {cookie}\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut reply = String::new();
        connection.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_owned(), body: body.to_owned() }
    }
}

impl Reply {
    /// Returns the session cookie that the response sets.
    fn cookie(&self) -> String {
        let mut lines = self.head.lines();
        let cookie = lines.find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// The shop as its users see it: two instances that serve requests in turn.
struct Shop {
    folder: tempfile::TempDir,
    slots: RwLock<[Arc<Instance>; 2]>,
    next: AtomicUsize,
    /// Number of rounds that each user has completed.
    rounds: [AtomicUsize; USERS],
    is_closing: AtomicBool,
    unavailable: AtomicUsize,
}

impl Shop {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let slots = [(); 2].map(|()| Arc::new(Instance::start(BEFORE, folder.path())));
        Self {
            folder,
            slots: RwLock::new(slots),
            next: AtomicUsize::new(0),
            rounds: Default::default(),
            is_closing: AtomicBool::new(false),
            unavailable: AtomicUsize::new(0),
        }
    }

    /// Sends a request to the next instance. `None` for status 503, which only an instance of the
    /// first release may return.
    fn send(&self, request: &str, cookie: &str) -> Option<Reply> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        // A replaced instance runs until its last request has ended.
        let instance = Arc::clone(&self.slots.read().unwrap()[next % 2]);
        let reply = instance.send(request, cookie);
        if reply.status == 503 {
            assert_eq!(instance.release, BEFORE, "{request}");
            assert!(reply.head.contains("\r\nretry-after: 1"), "{}", reply.head);
            self.unavailable.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        assert_eq!(reply.status, 200, "{request}: {}", reply.head);
        Some(reply)
    }

    /// Replaces one instance while users are served, and waits until each user has completed some
    /// rounds. Returns the number of responses with status 503 since.
    fn replace(&self, slot: usize, release: &'static str) -> usize {
        let instance = Arc::new(Instance::start(release, self.folder.path()));
        self.slots.write().unwrap()[slot] = instance;
        self.unavailable.store(0, Ordering::Relaxed);
        let count = |user: &AtomicUsize| user.load(Ordering::Relaxed);
        let before: Vec<usize> = self.rounds.iter().map(count).collect();
        while self.rounds.iter().zip(&before).any(|(user, before)| count(user) < before + ROUNDS) {
            assert!(!self.is_closing.load(Ordering::Relaxed), "no user should have failed");
            thread::sleep(Duration::from_millis(5));
        }
        self.unavailable.load(Ordering::Relaxed)
    }

    /// Serves a user until the shop closes. Returns the number of items in the cart, and the
    /// cookie.
    fn serve(&self, user: usize) -> (usize, String) {
        let _closes = Close(self);
        let (mut cookie, mut cart) = (String::new(), 0);
        for percent in 1.. {
            if self.is_closing.load(Ordering::Relaxed) {
                break;
            }
            // A sign-in works on every release, whatever values the session holds.
            cookie = self.send(&format!("POST /sign-in/{user}"), &cookie).unwrap().cookie();
            let add = || self.send("POST /cart/tea", &cookie).is_some();
            cart += both(add).into_iter().filter(|is_added| *is_added).count();
            if let Some(reply) = self.send("GET /cart", &cookie) {
                assert_eq!(reply.body, cart.to_string());
            }
            // A write also works on every release, whatever value it replaces.
            self.send(&format!("POST /coupon/{percent}"), &cookie).unwrap();
            let taken = both(|| self.send("POST /coupon", &cookie).map(|reply| reply.body));
            let is_it = |taken: &&Option<String>| **taken == Some(percent.to_string());
            let number = taken.iter().filter(is_it).count();
            assert!(number == 1 || number == 0 && taken.contains(&None), "{taken:?} of {percent}");
            self.rounds[user].fetch_add(1, Ordering::Relaxed);
        }
        (cart, cookie)
    }
}

/// Closes the shop when the script or a user ends, even if it ends by a failure.
struct Close<'a>(&'a Shop);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.is_closing.store(true, Ordering::Relaxed);
    }
}

/// Sends two requests at the same time.
fn both<T: Send>(send: impl Fn() -> T + Sync) -> [T; 2] {
    thread::scope(|scope| {
        let other = scope.spawn(&send);
        [send(), other.join().unwrap()]
    })
}

/// Runs a script while the shop serves users. Then checks each cart on an instance of the last
/// release, and that no instance logged any problem except values of a newer version.
fn run(script: impl FnOnce(&Shop)) {
    let shop = &Shop::open();
    let users: Vec<(usize, String)> = thread::scope(|scope| {
        let users: Vec<_> = (0..USERS).map(|user| scope.spawn(move || shop.serve(user))).collect();
        let closes = Close(shop);
        script(shop);
        drop(closes);
        users.into_iter().map(|user| user.join().unwrap()).collect()
    });
    let last = Instance::start(AFTER, shop.folder.path());
    for (cart, cookie) in users {
        let reply = last.send("GET /cart", &cookie);
        assert_eq!((reply.status, reply.body), (200, cart.to_string()));
    }
    let log = fs::read_to_string(shop.folder.path().join("log")).unwrap();
    let is_newer =
        |line: &&str| line.contains("has version 2, and this release knows only versions up to 1");
    assert_eq!(log.lines().find(|line| !is_newer(line)), None);
}

#[test]
fn with_a_bridge_release_nothing_fails_and_nothing_is_lost() {
    run(|shop| {
        let forward = [(0, BRIDGE), (1, BRIDGE), (0, AFTER), (1, AFTER)];
        let back = [(0, BRIDGE), (1, BRIDGE), (0, BEFORE), (1, BEFORE)];
        for (slot, release) in forward.into_iter().chain(back).chain(forward) {
            assert_eq!(shop.replace(slot, release), 0, "{release}");
        }
    });
}

/// Instances of the first release answer 503 if a request reads a newer value, and lose nothing.
#[test]
fn without_a_bridge_release_nothing_is_lost() {
    run(|shop| {
        assert!(shop.replace(0, AFTER) > 0);
        shop.replace(1, AFTER);
        assert!(shop.replace(0, BEFORE) > 0);
        assert!(
            shop.replace(1, BEFORE) >= USERS * ROUNDS,
            "the first release should answer 503 for each cart of version 2"
        );
        shop.replace(0, AFTER);
        shop.replace(1, AFTER);
    });
}
