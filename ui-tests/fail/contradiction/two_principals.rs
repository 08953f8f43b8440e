use ruts::session;

#[session]
struct Shop {
    #[field(principal)]
    user: u8,
    #[field(principal)]
    customer: u8,
}

fn main() {}
