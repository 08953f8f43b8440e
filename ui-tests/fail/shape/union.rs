use ruts::session;

#[session]
union Shop {
    cart: u8,
}

fn main() {}
