use ruts::session;

#[session]
struct Shop {
    #[cfg(unix)]
    cart: u8,
}

fn main() {}
