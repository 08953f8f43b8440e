use ruts::session;

#[session]
struct Shop {
    #[field(version = 2, migrate)]
    bare: u8,
    #[field(version = 2, migrate())]
    empty: u8,
    #[field(version = 2, migrate = upgrade)]
    value: u8,
    #[field(version = 2, migrate(1 = u8))]
    equals: u8,
    #[field(version = 2, migrate(1 => ))]
    nothing: u8,
    #[field(version = 2, migration(1 => u8))]
    misspelt: u8,
}

fn main() {}
