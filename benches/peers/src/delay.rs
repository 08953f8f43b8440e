//! [`DelayingProxy`]: delays the traffic to a local server, as if the server were remote. Used by
//! `latency`.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::sys::prctl;

/// Forwards connections to a server, with a delay. Runs until the process ends.
pub(crate) struct DelayingProxy {
    address: String,
}

impl DelayingProxy {
    /// Starts a proxy before the server at `address`. It uses threads, because timers of the
    /// runtime have a resolution of one millisecond.
    pub(crate) fn before(address: &str, one_way: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port should be free");
        let own = listener.local_addr().expect("the listener should have an address").to_string();
        let upstream = address.to_owned();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&upstream) else { continue };
                let second = |stream: &TcpStream| {
                    stream
                        .set_nodelay(true)
                        .and_then(|()| stream.try_clone())
                        .expect("the connection should be open")
                };
                let (to_server, to_client) = (second(&server), second(&client));
                forward(client, to_server, one_way);
                forward(server, to_client, one_way);
            }
        });
        Self { address: own }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

/// Forwards one direction. Each packet is delayed on its own, as on a network. If two packets
/// follow each other closely, they also arrive closely after each other.
fn forward(mut from: TcpStream, mut to: TcpStream, one_way: Duration) {
    let (sender, packets) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = [0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let packet = (Instant::now() + one_way, buffer[..length].to_vec());
            if sender.send(packet).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        prctl::set_timerslack(1).expect("the system should set the precision of timers");
        for (due, packet) in packets {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&packet).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
