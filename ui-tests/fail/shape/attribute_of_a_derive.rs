use ruts::session;

#[session]
#[derive(Debug, serde::Serialize)]
struct Shop {
    #[field(once)]
    #[serde(rename = "f")]
    flash: String,
    #[feild(default)]
    cart: u8,
}

fn main() {}
