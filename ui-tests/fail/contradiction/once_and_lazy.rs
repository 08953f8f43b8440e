use ruts::session;

#[session]
struct Shop {
    #[field(once, lazy)]
    cart: u8,
}

fn main() {}
