use ruts::session;

#[session]
struct Shop {
    #[field(principal, index)]
    user: u64,
}

fn main() {}
