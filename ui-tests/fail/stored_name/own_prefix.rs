use ruts::session;

#[session(prefix = "shop", retired("shop.note"))]
struct Shop {
    #[field(rename = "shop.device")]
    name: String,
}

fn main() {}
