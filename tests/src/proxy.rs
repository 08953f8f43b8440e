use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What a [`Proxy`] does with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Pass it on.
    Flows,
    /// Keep it until it flows again, requests and answers alike.
    Waits,
    /// Pass requests on; close the connection after the first `bytes` of the next answer.
    CutsAnswersAfter(usize),
    /// Close every connection at once.
    Stops,
}

/// Stands between a client and a server, counts round trips, and holds or cuts what passes.
pub struct Proxy {
    address: String,
    traffic: watch::Sender<Traffic>,
    trips: Arc<AtomicU64>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// A proxy before the server at `address`.
    pub async fn before(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let (traffic, watching) = watch::channel(Traffic::Flows);
        let trips = Arc::new(AtomicU64::new(0));
        let (upstream, counted) = (address.to_owned(), Arc::clone(&trips));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, trips, traffic) =
                    (upstream.clone(), Arc::clone(&counted), watching.clone());
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(&upstream).await {
                        pass(client, server, traffic, &trips).await;
                    }
                });
            }
        });
        Self { address: own, traffic, trips, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on.
    pub fn set(&self, traffic: Traffic) {
        self.traffic.send_replace(traffic);
    }

    /// How often a request began after an answer, or at the start of a connection.
    pub fn trips(&self) -> u64 {
        self.trips.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.traffic.send_replace(Traffic::Stops);
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    mut traffic: watch::Receiver<Traffic>,
    trips: &AtomicU64,
) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut request, mut answer) = ([0; 16 * 1024], [0; 16 * 1024]);
    let mut answered = true;
    loop {
        let now = *traffic.borrow_and_update();
        if now == Traffic::Stops {
            return;
        }
        if now == Traffic::Waits {
            if traffic.changed().await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            biased;
            changed = traffic.changed() => if changed.is_err() { return },
            read = client.read(&mut request) => {
                let Some(length) = read.ok().filter(|length| *length > 0) else { return };
                if std::mem::take(&mut answered) {
                    trips.fetch_add(1, Ordering::SeqCst);
                }
                if server.write_all(&request[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answer) => {
                let Some(length) = read.ok().filter(|length| *length > 0) else { return };
                answered = true;
                if let Traffic::CutsAnswersAfter(bytes) = now {
                    let _ = client.write_all(&answer[..length.min(bytes)]).await;
                    return;
                }
                if client.write_all(&answer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
