use ruts::session;

#[session]
struct Shop {
    #[field(default = )]
    cart: u8,
}

fn main() {}
