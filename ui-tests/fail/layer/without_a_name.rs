use ruts::session;

struct Staff;

#[session(layer = Staff)]
struct Shop {
    cart: u8,
}

fn main() {}
