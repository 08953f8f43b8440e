use ruts::session;

#[session]
struct Shop {
    cart: &'static str,
}

fn main() {}
