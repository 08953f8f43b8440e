use ruts::session;

#[session]
struct Shop {
    #[field(encrypt(since = 2))]
    first: u8,
    #[field(version = 2, migrate(1 => u8), encrypt(since = 3))]
    later: u8,
    #[field(version = 2, migrate(1 => u8), encrypt(2))]
    bare: u8,
}

fn main() {}
