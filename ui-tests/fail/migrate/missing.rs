use ruts::session;

#[session]
struct Shop {
    #[field(version = 2)]
    cart: u8,
    #[field(version = 3, migrate(2 => String))]
    name: String,
    #[field(principal, version = 2)]
    user: u64,
}

fn main() {}
