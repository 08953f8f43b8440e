use ruts::session;

#[session]
struct Shop {
    #[field(default = "tea")]
    cart: String,
}

fn main() {}
