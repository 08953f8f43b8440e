use ruts::session;

#[session(prefx = "shop")]
struct Shop {
    #[field(tll = "30d")]
    user: u8,
    #[field(ttl = "30days", once = true)]
    cart: u8,
    #[field(once, default)]
    flash: String,
    #[field(rename = "user")]
    load: u8,
}

fn main() {}
