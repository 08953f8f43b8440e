use ruts::session;

#[session]
struct Shop {
    clone: u8,
}

fn main() {}
