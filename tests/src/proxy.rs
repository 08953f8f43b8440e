use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};

/// What a [`Proxy`] does with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Pass it on.
    Flows,
    /// Keep it until it flows again, requests and answers alike.
    Waits,
    /// Pass on until so many answers have come, and then keep what comes.
    WaitsAfter(usize),
    /// Pass requests on, and keep the answers until it flows again.
    KeepsAnswers,
    /// Pass requests on; close the connection after the first `bytes` of the next answer.
    CutsAnswersAfter(usize),
    /// Close every connection at once.
    Stops,
}

#[derive(Default)]
struct Counted {
    requests: Mutex<Vec<usize>>,
    answered: AtomicUsize,
    kept: Notify,
}

/// Stands between a client and a server, counts round trips, and holds or cuts what passes.
pub struct Proxy {
    address: String,
    traffic: watch::Sender<Traffic>,
    counted: Arc<Counted>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// A proxy before the server at `address`.
    pub async fn before(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let (traffic, watching) = watch::channel(Traffic::Flows);
        let all = Arc::<Counted>::default();
        let (upstream, counted) = (address.to_owned(), Arc::clone(&all));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, counted, traffic) =
                    (upstream.clone(), Arc::clone(&counted), watching.clone());
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(&upstream).await {
                        pass(client, server, traffic, &counted).await;
                    }
                });
            }
        });
        Self { address: own, traffic, counted: all, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on.
    pub fn set(&self, traffic: Traffic) {
        self.traffic.send_replace(traffic);
    }

    /// The sizes of the requests since the last call, one for each round trip: what is sent until an
    /// answer comes counts as one.
    pub fn take_requests(&self) -> Vec<usize> {
        std::mem::take(&mut *self.counted.requests.lock().unwrap())
    }

    /// How many bytes were answered since the last call.
    pub fn take_answered(&self) -> usize {
        self.counted.answered.swap(0, Ordering::Relaxed)
    }

    /// Waits until it [keeps](Traffic::KeepsAnswers) an answer.
    pub async fn kept(&self) {
        self.counted.kept.notified().await;
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
    counted: &Counted,
) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut request, mut answer) = ([0; 16 * 1024], [0; 16 * 1024]);
    let (mut answered, mut answers) = (true, 0);
    loop {
        let now = *traffic.borrow_and_update();
        if now == Traffic::Stops {
            return;
        }
        if now == Traffic::Waits || matches!(now, Traffic::WaitsAfter(most) if answers >= most) {
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
                    let mut requests = counted.requests.lock().unwrap();
                    match requests.last_mut().filter(|_| !answered) {
                        Some(request) => *request += length,
                        None => requests.push(length),
                    }
                    answered = false;
                }
                if server.write_all(&request[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answer) => {
                let Some(length) = read.ok().filter(|length| *length > 0) else { return };
                answered = true;
                answers += 1;
                counted.answered.fetch_add(length, Ordering::Relaxed);
                if now == Traffic::KeepsAnswers {
                    counted.kept.notify_one();
                    let flows = traffic.wait_for(|traffic| *traffic != Traffic::KeepsAnswers).await;
                    if flows.is_err() {
                        return;
                    }
                }
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
