use ruts::session;

#[session]
struct Shop {
    #[field(default, principal)]
    user: u8,
}

fn main() {}
