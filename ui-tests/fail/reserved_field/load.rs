use ruts::session;

#[session]
struct Shop {
    load: u8,
}

fn main() {}
