use ruts::session;

#[session]
struct Shop {
    #[field(version = 3, migrate(2 => u8, 1 => u16))]
    descending: u32,
    #[field(version = 2, migrate(1 => u8, 1 => u16))]
    twice: u32,
    #[field(version = 2, migrate(1 => u8, 2 => u16))]
    own: u32,
    #[field(migrate(1 => u8))]
    first: u32,
    #[field(version = 2, migrate(0 => u8, 1 => u16))]
    zero: u32,
}

fn main() {}
