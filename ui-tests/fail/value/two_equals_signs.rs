use ruts::session;

#[session]
struct Shop {
    #[field(ttl == "1d")]
    cart: u8,
    #[field(version == 2, default == 1)]
    notes: u8,
}

fn main() {}
