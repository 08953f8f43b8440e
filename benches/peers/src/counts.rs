//! Commands and bytes, counted by the server, and round trips, by a proxy before it.

use ruts_tests::{Proxy, servers::Redis};

use crate::{
    client::Visitor,
    stacks::{self, Stack},
};

/// What is done, after what, and with how many requests of each kind before.
const WORKLOADS: [(&str, &str, &str); 9] = [
    ("read 1 field", "/begin", "/read1"),
    ("read 5 fields", "/begin", "/read5"),
    ("write 1 field", "/begin", "/write1"),
    ("write 5 fields", "/begin", "/write5"),
    ("read, modify, write", "/begin", "/increment"),
    ("sign in, a guest before", "/begin", "/login"),
    ("sign in, nobody before", "", "/login"),
    ("read 16 bytes beside 16 KiB", "/fat", "/thin/read"),
    ("write 16 bytes beside 16 KiB", "/fat", "/thin/write"),
];

struct Counters {
    commands: u64,
    received: u64,
    sent: u64,
}

fn counters(server: &Redis) -> Counters {
    let section = |name: &str| server.command::<String>(&["INFO", name]);
    let number = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|number| number.trim().parse::<u64>().ok()).expect("the server counts")
    };
    // What asks is not counted among what was done: by name.
    let stats = section("commandstats");
    let commands = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let ours = ["info", "client|setinfo", "client|setname", "hello", "ping", "select"];
        (!ours.contains(&name)).then(|| rest.split(',').next()?.parse::<u64>().ok())?
    });
    let commands = commands.sum();
    let stats = section("stats");
    Counters {
        commands,
        received: number(&stats, "total_net_input_bytes"),
        sent: number(&stats, "total_net_output_bytes"),
    }
}

async fn prepared(stack: &Stack, before: &str) -> Visitor {
    let mut visitor = Visitor::new(&stack.app);
    if !before.is_empty() {
        visitor.text(before).await;
    }
    visitor
}

pub(crate) async fn print(server: &Redis) {
    const TIMES: u64 = 10;
    let proxy = Proxy::before(&server.address()).await;
    let stacks = stacks::all(&format!("redis://{}", proxy.address()), 1).await;
    // What it costs to ask for the counters.
    let (before, after) = (counters(server), counters(server));
    let asking = (after.received - before.received, after.sent - before.sent);
    println!("| what | stack | round trips | commands | bytes in | bytes out |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for (what, before, path) in WORKLOADS {
        for stack in &stacks {
            // Once, so that scripts are known.
            prepared(stack, before).await.text(path).await;
            let mut visitors = Vec::new();
            for _ in 0..TIMES {
                visitors.push(prepared(stack, before).await);
            }
            proxy.take_requests();
            let from = counters(server);
            for visitor in &mut visitors {
                visitor.text(path).await;
            }
            let to = counters(server);
            let trips = proxy.take_requests().len() as u64;
            let bytes =
                |from: u64, to: u64, asking: u64| (to - from).saturating_sub(asking) / TIMES;
            println!(
                "| {what} | {} | {} | {} | {} | {} |",
                stack.name,
                per(trips, TIMES),
                per(to.commands - from.commands, TIMES),
                bytes(from.received, to.received, asking.0),
                bytes(from.sent, to.sent, asking.1),
            );
        }
    }
}

fn per(count: u64, times: u64) -> String {
    match count % times {
        0 => (count / times).to_string(),
        _ => format!("{:.1}", count as f64 / times as f64),
    }
}
