use std::{collections::HashMap, time::Duration};

use ruts::{Ttl, session};

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

fn five() -> u8 {
    5
}

#[session]
struct Shop {
    #[field(ttl = WEEK, hot = Duration::from_secs(60))]
    constant: u8,
    #[field(ttl = Duration::from_secs(60 * 60))]
    call: u8,
    #[field(default = five())]
    five: u8,
    #[field(default = HashMap::<String, Vec<u8>>::new(), ttl = "1h 30m")]
    map: HashMap<String, Vec<u8>>,
    #[field(default = { let six = 6; six })]
    block: u8,
    #[field(default = if cfg!(unix) { 1 } else { 2 }, lazy)]
    choice: u8,
    #[field(default = (1, [2, 3]))]
    tuple: (u8, [u8; 2]),
    #[field(default = Some(4).map(|n: u8| n + 1).unwrap_or_default())]
    closure: u8,
    #[field(default = (|n: u8| n + 1)(6))]
    called: u8,
    #[field(default = HashMap::<String, Vec<u8>>::from_iter([1].map(|n: u8| (n.to_string(), vec![n]))))]
    turbofish: HashMap<String, Vec<u8>>,
    #[field(ttl = if cfg!(unix) { WEEK } else { Duration::from_secs(1) }, hot = WEEK, lazy)]
    branch: u8,
}

fn main() {
    assert_eq!(Shop::CONSTANT.spec().ttl(), Ttl::new(WEEK).ok());
    assert_eq!(Shop::MAP.spec().ttl(), Some(Ttl::from_secs(90 * 60)));
}
