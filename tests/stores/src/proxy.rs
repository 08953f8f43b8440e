//! A proxy between a client and a server. Tests count round trips with it, and hold or cut traffic.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};

/// How a [`Proxy`] treats the bytes that it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Forwards everything.
    Forward,
    /// Holds requests and answers until it forwards again.
    Hold,
    /// Forwards until this number of answers has passed on a connection, and then holds everything.
    HoldAfter(usize),
    /// Forwards requests, and holds answers until it forwards again.
    HoldAnswers,
    /// Forwards requests. Closes the connection after this number of bytes of the next answer.
    CutAnswersAfter(usize),
    /// Closes every connection immediately.
    Disconnect,
}

#[derive(Default)]
struct Counters {
    /// The size of each request.
    requests: Mutex<Vec<usize>>,
    answered_bytes: AtomicUsize,
    answer_held: Notify,
}

/// Forwards connections to a server.
pub struct Proxy {
    address: String,
    route: Arc<Mutex<Route>>,
    /// The traffic of silenced connections.
    silent: Mutex<Vec<watch::Sender<Traffic>>>,
    counters: Arc<Counters>,
    accepting: tokio::task::JoinHandle<()>,
}

/// Where new connections lead, and how their traffic is treated.
struct Route {
    upstream: String,
    traffic: watch::Sender<Traffic>,
}

impl Proxy {
    /// Starts a proxy in front of the server at `address`.
    pub async fn before(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let traffic = watch::Sender::new(Traffic::Forward);
        let route = Arc::new(Mutex::new(Route { upstream: address.to_owned(), traffic }));
        let counters = Arc::<Counters>::default();
        let (current, shared) = (Arc::clone(&route), Arc::clone(&counters));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let counters = Arc::clone(&shared);
                let (upstream, traffic) = {
                    let route = current.lock().unwrap();
                    (route.upstream.clone(), route.traffic.subscribe())
                };
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(&upstream).await {
                        forward(client, server, traffic, &counters).await;
                    }
                });
            }
        });
        Self { address: own, route, silent: Mutex::default(), counters, accepting }
    }

    /// Returns the address that the proxy listens on.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Changes how the proxy treats traffic.
    pub fn set(&self, traffic: Traffic) {
        self.route.lock().unwrap().traffic.send_replace(traffic);
    }

    /// Leads new connections to another server. Open ones keep theirs.
    pub fn lead_to(&self, address: &str) {
        self.route.lock().unwrap().upstream = address.to_owned();
    }

    /// Holds all traffic of the open connections for ever. New ones are forwarded.
    pub fn silence_present(&self) {
        let mut route = self.route.lock().unwrap();
        let silent = std::mem::replace(&mut route.traffic, watch::Sender::new(Traffic::Forward));
        silent.send_replace(Traffic::Hold);
        self.silent.lock().unwrap().push(silent);
    }

    /// Returns the sizes of the requests since the last call. All bytes that a client sends before
    /// the next answer count as one request, and so as one round trip.
    pub fn take_requests(&self) -> Vec<usize> {
        std::mem::take(&mut *self.counters.requests.lock().unwrap())
    }

    /// Returns the number of bytes of the answers since the last call.
    pub fn take_answered_bytes(&self) -> usize {
        self.counters.answered_bytes.swap(0, Ordering::Relaxed)
    }

    /// Waits until the proxy [holds](Traffic::HoldAnswers) an answer.
    pub async fn answer_held(&self) {
        self.counters.answer_held.notified().await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.set(Traffic::Disconnect);
    }
}

async fn forward(
    mut client: TcpStream,
    mut server: TcpStream,
    mut traffic: watch::Receiver<Traffic>,
    counters: &Counters,
) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut request, mut answer) = ([0; 16 * 1024], [0; 16 * 1024]);
    let (mut is_answered, mut answers) = (true, 0);
    loop {
        let now = *traffic.borrow_and_update();
        if now == Traffic::Disconnect {
            return;
        }
        if now == Traffic::Hold || matches!(now, Traffic::HoldAfter(most) if answers >= most) {
            if traffic.changed().await.is_err() {
                return;
            }
            answers = 0;
            continue;
        }
        tokio::select! {
            biased;
            changed = traffic.changed() => {
                if changed.is_err() {
                    return;
                }
                answers = 0;
            }
            read = client.read(&mut request) => {
                let Some(length) = read.ok().filter(|length| *length > 0) else { return };
                {
                    let mut requests = counters.requests.lock().unwrap();
                    match requests.last_mut().filter(|_| !is_answered) {
                        Some(request) => *request += length,
                        None => requests.push(length),
                    }
                    is_answered = false;
                }
                if server.write_all(&request[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answer) => {
                let Some(length) = read.ok().filter(|length| *length > 0) else { return };
                is_answered = true;
                answers += 1;
                counters.answered_bytes.fetch_add(length, Ordering::Relaxed);
                if now == Traffic::HoldAnswers {
                    counters.answer_held.notify_one();
                    let resumed = traffic.wait_for(|traffic| *traffic != Traffic::HoldAnswers);
                    if resumed.await.is_err() {
                        return;
                    }
                }
                if let Traffic::CutAnswersAfter(bytes) = now {
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
