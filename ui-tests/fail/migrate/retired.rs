use ruts::session;

#[session(prefix = "shop", retired("basket", "draft"))]
struct Shop {
    basket: u8,
    #[field(rename = "draft")]
    letter: u8,
}

#[session(retired = "basket")]
struct Other {
    cart: u8,
}

fn main() {}
