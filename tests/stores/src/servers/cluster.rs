//! [`Cluster`]: a Redis cluster that a test starts.

use std::sync::OnceLock;

use redis::Client;

use super::{
    process::{Process, free_port},
    redis::{Flavour, is_ready, start},
};

const SLOTS: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

/// Three nodes that share the slots, without replicas.
pub struct Cluster {
    nodes: Vec<(Process, String)>,
}

impl Cluster {
    /// Starts a cluster whose nodes have additional settings.
    pub fn start(settings: &[&str]) -> Self {
        let nodes = SLOTS.map(|_| {
            let bus = free_port().to_string();
            let own = [
                ["--cluster-enabled", "yes"],
                ["--cluster-port", &bus],
                ["--cluster-node-timeout", "2000"],
                ["--cluster-require-full-coverage", "no"],
            ];
            start(None, Flavour::Redis, free_port(), &[&own.concat()[..], settings].concat())
        });
        let cluster = Self { nodes: nodes.into() };
        for ((process, url), (number, (first, last))) in
            cluster.nodes.iter().zip((1_u16..).zip(SLOTS))
        {
            process.wait_until(|| is_ready(url));
            ask(url, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            ask(url, &["CLUSTER", "SET-CONFIG-EPOCH", &number.to_string()]);
        }
        for index in [1, 2] {
            let (port, bus) = cluster.ports(index);
            ask(&cluster.nodes[0].1, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        for (process, url) in &cluster.nodes {
            process.wait_until(|| {
                let info = ask(url, &["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok")
                    && info.contains("cluster_known_nodes:3")
                    && info.contains("cluster_size:3")
            });
        }
        cluster
    }

    /// Returns the cluster that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// Returns the URL of each node.
    pub fn urls(&self) -> Vec<&str> {
        self.nodes.iter().map(|(_, url)| &**url).collect()
    }

    /// Returns the slot of the keys with this hash tag.
    pub fn slot_of(&self, tag: &str) -> u16 {
        let slot = ask(&self.nodes[0].1, &["CLUSTER", "KEYSLOT", tag]);
        slot.parse().expect("the slot should be a number")
    }

    /// Returns the index of the node that holds the keys with this hash tag at the start.
    pub fn node_of(&self, tag: &str) -> usize {
        let slot = self.slot_of(tag);
        SLOTS.iter().position(|(_, last)| slot <= *last).expect("a node should have the slot")
    }

    /// Moves the keys with this hash tag to another node, which does not own their slot yet. The
    /// old node answers `ASK`. Returns the index of the old node.
    pub fn begin_move(&self, tag: &str, to: usize) -> usize {
        let from = self.node_of(tag);
        self.begin_move_from(tag, from, to);
        from
    }

    /// Moves the keys as [`begin_move`](Self::begin_move) does, from the node that owns the slot.
    pub fn begin_move_from(&self, tag: &str, from: usize, to: usize) {
        let (old, new) = (&*self.nodes[from].1, &*self.nodes[to].1);
        let slot = ask(old, &["CLUSTER", "KEYSLOT", tag]);
        let (old_id, new_id) = (ask(old, &["CLUSTER", "MYID"]), ask(new, &["CLUSTER", "MYID"]));
        ask(new, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &old_id]);
        ask(old, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &new_id]);
        while self.move_keys(&slot, old, new) {}
    }

    /// Moves up to 100 keys of a slot. Returns whether there were any.
    fn move_keys(&self, slot: &str, old: &str, new: &str) -> bool {
        let mut connection = Client::open(old).unwrap().get_connection().unwrap();
        let keys: Vec<String> = redis::cmd("CLUSTER")
            .arg(&["GETKEYSINSLOT", slot, "100"])
            .query(&mut connection)
            .unwrap();
        let port = new.rsplit(':').next().expect("the address should have a port");
        let mut migrate = vec!["MIGRATE", "127.0.0.1", port, "", "0", "5000", "KEYS"];
        migrate.extend(keys.iter().map(|key| &**key));
        if !keys.is_empty() {
            ask(old, &migrate);
        }
        !keys.is_empty()
    }

    /// Ends a [`begin_move`](Self::begin_move): `from` answers `MOVED` from now on.
    pub fn end_move(&self, tag: &str, from: usize, to: usize) {
        let (old, new) = (&*self.nodes[from].1, &*self.nodes[to].1);
        let slot = ask(old, &["CLUSTER", "KEYSLOT", tag]);
        while self.move_keys(&slot, old, new) {}
        let id = ask(new, &["CLUSTER", "MYID"]);
        for node in [new, old] {
            ask(node, &["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
        }
    }

    /// Kills a node.
    pub fn kill(&self, node: usize) {
        self.nodes[node].0.send("kill");
    }

    /// Starts a killed node again.
    pub fn restart(&self, node: usize) {
        let (process, url) = &self.nodes[node];
        process.send("start");
        process.wait_until(|| {
            is_ready(url) && ask(url, &["CLUSTER", "INFO"]).contains("cluster_state:ok")
        });
    }

    /// Suspends a node.
    pub fn pause(&self, node: usize) {
        self.nodes[node].0.send("pause");
    }

    /// Continues a suspended node.
    pub fn resume(&self, node: usize) {
        self.nodes[node].0.send("resume");
    }

    /// Returns whether every node knows that the cluster is complete.
    pub fn is_complete(&self) -> bool {
        let is_ok = |url: &String| ask(url, &["CLUSTER", "INFO"]).contains("cluster_state:ok");
        let knows = |url: &String| !ask(url, &["CLUSTER", "NODES"]).contains("fail");
        self.nodes.iter().all(|(_, url)| is_ok(url) && knows(url))
    }

    /// Runs a command on each node.
    pub fn on_each_node(&self, words: &[&str]) {
        for (_, url) in &self.nodes {
            let mut connection = Client::open(&**url).unwrap().get_connection().unwrap();
            redis::cmd(words[0]).arg(&words[1..]).exec(&mut connection).unwrap();
        }
    }

    fn ports(&self, node: usize) -> (String, String) {
        let url = &self.nodes[node].1;
        let nodes = ask(url, &["CLUSTER", "NODES"]);
        let address = nodes.split(' ').nth(1).expect("the line of the node should have an address");
        let ports = address.split(',').next().and_then(|address| address.split_once(':'));
        let (port, bus) = ports
            .and_then(|(_, ports)| ports.split_once('@'))
            .expect("the address should have two ports");
        (port.to_owned(), bus.to_owned())
    }
}

fn ask(url: &str, words: &[&str]) -> String {
    let mut connection = Client::open(url).unwrap().get_connection().unwrap();
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    redis::from_redis_value(command.query(&mut connection).unwrap()).unwrap()
}
