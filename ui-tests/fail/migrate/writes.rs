use ruts::session;

#[session]
struct Shop {
    #[field(writes = 1)]
    first: u8,
    #[field(version = 2, migrate(1 => u8), writes = 2)]
    own: u8,
    #[field(version = 2, migrate(1 => discard), writes = 1)]
    discarded: u8,
    #[field(version = 2, migrate(1 => u8), writes = "1")]
    text: u8,
}

fn main() {}
