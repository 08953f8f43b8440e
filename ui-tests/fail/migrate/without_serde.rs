use ruts::session;

struct Former;

impl From<Former> for u8 {
    fn from(_: Former) -> Self {
        7
    }
}

#[session]
struct Shop {
    #[field(version = 2, migrate(1 => Former))]
    cart: u8,
}

fn main() {}
