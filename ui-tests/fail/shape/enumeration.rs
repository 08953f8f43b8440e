use ruts::session;

#[session]
enum Shop {
    Cart(u8),
}

fn main() {}
