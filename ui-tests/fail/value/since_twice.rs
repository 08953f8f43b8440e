use ruts::session;

#[session]
struct Shop {
    #[field(version = 3, migrate(1 => u32, 2 => u32), encrypt(since = 2, since = 3))]
    cart: u32,
}

fn main() {}
