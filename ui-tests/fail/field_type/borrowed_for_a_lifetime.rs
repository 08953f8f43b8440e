use ruts::session;

#[session]
struct Shop {
    cart: std::borrow::Cow<'_, str>,
}

fn main() {}
