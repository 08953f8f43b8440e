use ruts::session;

#[session]
struct Shop {
    #[field(principal)]
    user: u64,
}

async fn handler(shop: Shop) {
    match shop.user() {
        Some(_) => {}
        None => {}
    }
}

fn main() {}
