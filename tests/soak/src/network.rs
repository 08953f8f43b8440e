//! Faults of the network in front of a server: [`NetworkFault`]. Used by the servers.

use std::time::Duration;

use ruts_tests_stores::{Proxy, Traffic};
use tokio::time::sleep;

/// A fault of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkFault {
    /// Open connections stay open, but transfer nothing from now on. New connections work.
    Silence,
    /// No connection transfers anything until the fault ends.
    Stall,
    /// The network cuts every connection until the fault ends.
    Cut,
}

impl NetworkFault {
    /// Causes the fault at the proxy `name`, waits for `duration`, and ends it. `Silence` does not
    /// wait.
    pub async fn strike(self, name: &Proxy, duration: Duration) {
        let traffic = match self {
            Self::Silence => return name.silence_present(),
            Self::Stall => Traffic::Hold,
            Self::Cut => Traffic::Disconnect,
        };
        name.set(traffic);
        sleep(duration).await;
        name.set(Traffic::Forward);
    }
}
