use ruts::session;

#[session]
struct Shop;

fn main() {}
