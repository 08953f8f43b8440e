use ruts::session;

#[session]
struct Shop {
    #[ruts::field(default)]
    cart: u8,
}

fn main() {}
