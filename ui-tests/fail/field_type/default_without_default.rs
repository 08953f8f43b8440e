use ruts::session;

#[session]
struct Shop {
    #[field(default)]
    cart: std::num::NonZeroU8,
}

fn main() {}
