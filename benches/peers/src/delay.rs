//! A proxy that makes a local server as slow to reach as a remote one.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use nix::sys::prctl;

/// Forwards connections to a server, and delays what passes. Ends with the process.
pub(crate) struct DelayingProxy {
    address: String,
}

impl DelayingProxy {
    /// Starts a proxy before the server at `address`. It has two threads for each connection: a
    /// timer of the runtime counts in milliseconds.
    pub(crate) fn before(address: &str, one_way: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let own = listener.local_addr().expect("the listener is bound").to_string();
        let upstream = address.to_owned();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&upstream) else { continue };
                let pair = |stream: &TcpStream| {
                    stream
                        .set_nodelay(true)
                        .and_then(|()| stream.try_clone())
                        .expect("an open stream")
                };
                let (to_server, to_client) = (pair(&server), pair(&client));
                thread::spawn(move || forward(client, to_server, one_way));
                thread::spawn(move || forward(server, to_client, one_way));
            }
        });
        Self { address: own }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

/// Forwards one direction. With one request in flight, nothing arrives during the delay.
fn forward(mut from: TcpStream, mut to: TcpStream, one_way: Duration) {
    prctl::set_timerslack(1).expect("the system has timers");
    let mut buffer = [0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        thread::sleep(one_way);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
