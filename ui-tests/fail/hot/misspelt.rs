use ruts::session;

#[session]
struct Shop {
    #[field(hot = "nevr")]
    cart: u8,
}

fn main() {}
