use ruts::session;

#[session]
struct Shop {
    #[field(principal)]
    user: u64,
    #[field(index, once)]
    provider_session: String,
}

fn main() {}
