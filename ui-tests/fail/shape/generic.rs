use ruts::session;

#[session]
struct Shop<T> {
    cart: T,
}

fn main() {}
