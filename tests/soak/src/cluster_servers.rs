//! A Redis cluster, and its faults: [`ClusterServers`]. Used by the systems.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use ruts_tests_stores::servers::Cluster;
use tokio::{task::block_in_place, time::sleep};

use crate::{
    fault::ClusterFault,
    redis_servers::{DURABLE, until},
};

/// Number of nodes.
const NODES: usize = 3;

/// Number of hash tags, each with the sessions whose id begins with the tag.
const TAGS: usize = 64 * 64;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Three nodes without replicas.
pub struct ClusterServers {
    cluster: Cluster,
    /// Number of faults so far. It determines the node or the slots of the next fault, so that they
    /// take turns.
    struck: AtomicUsize,
}

impl ClusterServers {
    /// Starts the cluster.
    pub fn start() -> Self {
        let cluster = block_in_place(|| Cluster::start(&DURABLE));
        Self { cluster, struck: AtomicUsize::new(0) }
    }

    /// Returns the cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Causes a fault, waits for `duration`, and ends it. Returns when the cluster can be used.
    pub async fn strike(&self, fault: ClusterFault, duration: Duration) {
        let struck = self.struck.fetch_add(1, Ordering::Relaxed);
        let node = struck % NODES;
        match fault {
            ClusterFault::MovedSlot => self.move_slot(struck, duration).await,
            ClusterFault::Kill => {
                block_in_place(|| self.cluster.kill(node));
                sleep(duration / 2).await;
                block_in_place(|| self.cluster.restart(node));
            }
            ClusterFault::Pause => {
                block_in_place(|| self.cluster.pause(node));
                sleep(duration).await;
                block_in_place(|| self.cluster.resume(node));
            }
            ClusterFault::CloseConnections => {
                let kill = ["CLIENT", "KILL", "TYPE", "normal"];
                block_in_place(|| self.cluster.on_each_node(&kill));
            }
            ClusterFault::ScriptFlush => {
                block_in_place(|| self.cluster.on_each_node(&["SCRIPT", "FLUSH"]));
            }
        }
        until("the cluster is complete", || self.cluster.is_complete()).await;
    }

    /// Moves the slots of 64 hash tags to another node and back. Few slots have sessions, so a
    /// single slot would often be empty.
    async fn move_slot(&self, struck: usize, duration: Duration) {
        const SLOTS: usize = 64;
        let tag = |number: usize| {
            let number = number % TAGS;
            [ALPHABET[number / 64], ALPHABET[number % 64]].map(char::from).iter().collect()
        };
        let tags = (0..SLOTS).map(|at| tag(struck * SLOTS + at));
        let by_slot = |tag: String| (self.cluster.slot_of(&tag), tag);
        let tags: BTreeMap<u16, String> = block_in_place(|| tags.map(by_slot).collect());
        let away = |tag: &String| {
            let from = self.cluster.node_of(tag);
            (from, (from + 1) % NODES)
        };
        block_in_place(|| {
            for tag in tags.values() {
                let (from, to) = away(tag);
                self.cluster.begin_move_from(tag, from, to);
            }
        });
        sleep(duration / 2).await;
        block_in_place(|| {
            for tag in tags.values() {
                let (from, to) = away(tag);
                self.cluster.end_move(tag, from, to);
            }
        });
        sleep(duration / 2).await;
        block_in_place(|| {
            for tag in tags.values() {
                let (from, to) = away(tag);
                self.cluster.begin_move_from(tag, to, from);
                self.cluster.end_move(tag, to, from);
            }
        });
    }
}
