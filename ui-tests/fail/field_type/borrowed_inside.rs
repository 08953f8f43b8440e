use ruts::session;

#[session]
struct Shop {
    cart: Vec<&str>,
}

fn main() {}
