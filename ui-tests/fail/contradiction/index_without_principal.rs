use ruts::session;

#[session]
struct Shop {
    #[field(index)]
    provider_session: String,
}

fn main() {}
