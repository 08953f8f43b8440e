use ruts::session;

#[session]
struct Shop {
    commit: u8,
}

fn main() {}
