use ruts::session;

#[session]
struct Shop {
    #[field(version = 2, migrate = upgrade)]
    cart: u8,
}

fn main() {}
