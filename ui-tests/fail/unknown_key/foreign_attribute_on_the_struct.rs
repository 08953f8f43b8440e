use ruts::session;

#[session]
#[serde(rename_all = "camelCase")]
struct Shop {
    cart: u8,
}

fn main() {}
