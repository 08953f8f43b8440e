//! Faults of the network before a server: [`NetworkFault`]. Used by the servers.

use std::time::Duration;

use ruts_tests_stores::{Proxy, Traffic};
use tokio::time::sleep;

/// A fault of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkFault {
    /// Present connections fall silent for ever. New ones work.
    Silence,
    /// All traffic stands still for a while.
    Stall,
    /// The network cuts every connection for a while.
    Cut,
}

impl NetworkFault {
    /// Causes the fault before the server behind `name`, waits for `duration`, and ends it.
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
