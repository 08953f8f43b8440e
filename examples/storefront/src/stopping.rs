//! The stop signal of the server, which ends open event streams.

use tokio::{signal::unix, sync::watch};

/// The signal to event streams that the server is stopping.
#[derive(Clone)]
pub(crate) struct Stopping(watch::Receiver<()>);

impl Stopping {
    /// Returns a sender and the signal, which is sent when the sender is dropped.
    pub(crate) fn new() -> (watch::Sender<()>, Self) {
        let (stop, stopping) = watch::channel(());
        (stop, Self(stopping))
    }

    /// Waits until the server stops.
    pub(crate) async fn requested(&mut self) {
        let _ = self.0.changed().await;
    }
}

/// Waits for an interrupt from a terminal, or for the signal of a supervisor.
pub(crate) async fn interrupted() {
    let Ok(mut terminate) = unix::signal(unix::SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
