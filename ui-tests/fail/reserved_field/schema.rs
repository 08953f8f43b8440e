use ruts::session;

#[session]
struct Shop {
    schema: u8,
}

fn main() {}
