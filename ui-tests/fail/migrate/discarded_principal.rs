use ruts::session;

#[session]
struct Shop {
    #[field(principal, version = 2, migrate(1 => discard))]
    user: u64,
}

fn main() {}
