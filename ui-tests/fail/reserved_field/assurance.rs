use ruts::session;

#[session]
struct Shop {
    #[field(principal)]
    user: u64,
    assurance: u8,
}

#[session]
struct Unused {
    assurance: u8,
}

fn main() {}
