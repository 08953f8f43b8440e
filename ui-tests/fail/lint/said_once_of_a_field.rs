#![deny(warnings)]

use ruts::session;

#[session]
struct Shop {
    userName: u8,
    _hidden: u8,
}

fn main() {}
