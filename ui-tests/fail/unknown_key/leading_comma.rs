use ruts::session;

#[session]
struct Shop {
    #[field(,)]
    cart: u8,
    #[field(default,, lazy)]
    notes: u8,
}

fn main() {}
