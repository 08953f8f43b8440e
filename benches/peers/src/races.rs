//! What is left when requests of one session race each other: forced, not hoped for.

use ruts_tests::servers::Redis;
use tokio::task::JoinSet;

use crate::{
    client::Visitor,
    stacks::{self, Stack},
};

const AT_ONCE: u32 = 64;

async fn at_once(visitor: &Visitor, path: impl Fn(u32) -> String) -> u32 {
    let mut requests = JoinSet::new();
    for number in 0..AT_ONCE {
        let (mut visitor, path) = (visitor.clone(), path(number));
        requests.spawn(async move { visitor.get(&path).await.0.is_success() });
    }
    requests.join_all().await.into_iter().map(u32::from).sum()
}

fn spread(counts: &[u32]) -> String {
    let (least, most) = (counts.iter().min(), counts.iter().max());
    match (least, most) {
        (Some(least), Some(most)) if least == most => least.to_string(),
        (Some(least), Some(most)) => format!("{least} to {most}"),
        _ => "-".to_owned(),
    }
}

/// Of 64 fields written at once, how many are there; of 64 increments, how many count, and how many were
/// refused with an error.
async fn merging(stack: &Stack, trials: usize) -> (String, String, String) {
    let (mut fields, mut numbers, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..trials {
        let mut visitor = Visitor::new(&stack.app);
        visitor.text("/begin").await;
        at_once(&visitor, |number| format!("/set/{number}")).await;
        fields.push(visitor.text("/fields").await.parse().expect("a number"));
        let done = at_once(&visitor, |_| "/increment".to_owned()).await;
        numbers.push(visitor.text("/number").await.parse().expect("a number"));
        refused.push(AT_ONCE - done);
    }
    (spread(&fields), spread(&numbers), spread(&refused))
}

/// A slow request has read who is signed in; the user signs out; the request writes. How often somebody is
/// signed in with the old cookie, and how often it opens anything.
async fn revival(stack: &Stack, trials: usize) -> usize {
    let mut back = 0;
    for _ in 0..trials {
        let mut visitor = Visitor::new(&stack.app);
        visitor.text("/begin").await;
        visitor.text("/login").await;
        let mut old = visitor.clone();
        let mut slow = visitor.clone();
        let slow = tokio::spawn(async move { slow.get("/slow").await });
        stack.gate.reached.notified().await;
        visitor.text("/out").await;
        stack.gate.go_on.notify_one();
        slow.await.expect("the request comes to its end");
        let (_, who) = old.get("/who").await;
        back += usize::from(who == "true");
    }
    back
}

pub(crate) async fn print(server: &Redis) {
    const TRIALS: usize = 200;
    let stacks = stacks::all(server.url(), 8).await;
    println!(
        "| stack | of 64 fields written at once | of 64 increments at once | refused with an error | \
         signed in after signing out, of {TRIALS} |"
    );
    println!("| --- | --- | --- | --- | --- |");
    for stack in &stacks {
        let (fields, numbers, refused) = merging(stack, TRIALS / 10).await;
        let back = revival(stack, TRIALS).await;
        println!("| {} | {fields} | {numbers} | {refused} | {back} |", stack.name);
    }
}
