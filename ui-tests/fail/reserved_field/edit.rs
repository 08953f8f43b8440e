use ruts::session;

#[session]
struct Shop {
    edit: u8,
}

fn main() {}
