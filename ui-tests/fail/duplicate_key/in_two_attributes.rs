use ruts::session;

#[session]
struct Shop {
    #[field(lazy)]
    #[field(lazy)]
    cart: u8,
}

fn main() {}
