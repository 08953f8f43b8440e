use ruts::session;

#[session]
struct Shop {
    #[field(principal)]
    user: u64,
    #[field(index, encrypt)]
    provider_session: String,
}

fn main() {}
