use ruts::session;

#[session]
fn shop() {}

fn main() {}
