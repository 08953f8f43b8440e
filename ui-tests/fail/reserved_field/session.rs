use ruts::session;

#[session]
struct Shop {
    session: u8,
}

fn main() {}
