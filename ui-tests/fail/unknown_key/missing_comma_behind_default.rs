use ruts::session;

#[session]
struct Shop {
    #[field(default = 5 lazy)]
    cart: u8,
}

fn main() {}
