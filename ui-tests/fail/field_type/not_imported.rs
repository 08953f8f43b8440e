use ruts::session;

#[session]
struct Shop {
    user: UserId,
}

fn main() {}
