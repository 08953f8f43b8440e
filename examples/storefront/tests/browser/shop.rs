//! Shops as processes, on stores of their own, and two shops behind one address.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use ruts_tests_stores::servers::{Flavour, Postgres, Redis};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::chromium::Result;

static REDIS: LazyLock<Redis> = LazyLock::new(|| Redis::start(Flavour::Redis, &[]));
static POSTGRES: LazyLock<Postgres> = LazyLock::new(|| Postgres::start(&[]));

/// A store, as an argument of the shop.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Store {
    Memory,
    Sqlite,
    Redis,
    Postgres,
    Layered,
}

impl Store {
    fn url(self, name: &str) -> String {
        match self {
            Self::Memory => "memory".to_owned(),
            Self::Sqlite => {
                let folder = env!("CARGO_TARGET_TMPDIR");
                format!("sqlite:{folder}/{}-{name}.db", std::process::id())
            }
            Self::Redis => REDIS.url().to_owned(),
            Self::Postgres => POSTGRES.url().to_owned(),
            Self::Layered => format!("layered:{},{}", REDIS.url(), POSTGRES.url()),
        }
    }
}

/// A running shop.
pub(crate) struct Shop {
    process: Child,
    pub(crate) url: String,
}

/// Returns a name that no other shop has.
pub(crate) fn unique() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("shop_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Shop {
    /// Starts a shop with a name of its own.
    pub(crate) fn start(store: Store) -> Result<Self> {
        Self::start_as(store, &unique(), &[])
    }

    /// Starts a shop of this name with more arguments.
    pub(crate) fn start_as(store: Store, name: &str, more: &[&str]) -> Result<Self> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_storefront"))
            .args(["--listen", "127.0.0.1:0", "--name", name, "--store", &store.url(name)])
            .args(more)
            .env("STOREFRONT_KEY", "the secret of these tests of 40 bytes long")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = process.stdout.take().ok_or("the shop has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let url = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        let shop = Self { process, url };
        if shop.url.starts_with("http://") {
            Ok(shop)
        } else {
            Err("the shop does not listen".into())
        }
    }

    pub(crate) fn address(&self) -> String {
        self.url.trim_start_matches("http://").to_owned()
    }

    /// Ends the process immediately.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns one address for several shops. Each request goes to the next shop that answers.
pub(crate) async fn round_robin(shops: &[Shop]) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let shops: Arc<[String]> = shops.iter().map(Shop::address).collect();
    tokio::spawn(async move {
        let mut next = 0;
        while let Ok((client, _)) = listener.accept().await {
            next += 1;
            let (shops, first) = (Arc::clone(&shops), next);
            tokio::spawn(async move {
                let _ = serve(client, &shops, first).await;
            });
        }
    });
    Ok(format!("http://localhost:{port}"))
}

async fn serve(mut client: TcpStream, shops: &[String], first: usize) -> Result<()> {
    let mut shop = None;
    for offset in 0..shops.len() {
        let address = &shops[(first + offset) % shops.len()];
        if let Ok(connection) = TcpStream::connect(address).await {
            shop = Some(connection);
            break;
        }
    }
    let mut shop = shop.ok_or("no shop answers")?;
    let mut head = vec![0; 64 * 1024];
    let mut length = 0;
    while !head[..length].windows(4).any(|window| window == b"\r\n\r\n") {
        match client.read(&mut head[length..]).await? {
            0 => return Ok(()),
            read => length += read,
        }
    }
    // One connection for each request. Otherwise a browser would stay with one shop.
    let text = String::from_utf8_lossy(&head[..length]);
    let text = text.replace("Connection: keep-alive", "Connection: close");
    shop.write_all(text.as_bytes()).await?;
    if text.starts_with("GET /session/events") {
        copy(&mut shop, &mut client).await?;
    } else {
        copy_bidirectional(&mut client, &mut shop).await?;
    }
    Ok(())
}
