use ruts::session;

#[session]
struct Shop(u8);

fn main() {}
