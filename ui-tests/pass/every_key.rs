use ruts::{session, session::LayerName};

pub struct Staff;

impl LayerName for Staff {
    const NAME: &str = "staff";
}

/// All keys together.
#[session(prefix = "desk", codec = "bincode", layer = Staff, lock, retired("name"))]
#[must_use]
pub struct Desk {
    /// The user.
    #[field(ttl = "30d", hot = "1h", principal, rename = "u", version = 2, migrate(1 => u32))]
    #[field(writes = 1, codec = "bincode")]
    #[deprecated]
    user: u64,
    #[field(lazy, rotate, hot = "checked", default = 7,)]
    level: u8,
    #[field(once, ttl = "5m", hot = "never")]
    #[field(rotate)]
    ticket: String,
}

/// Another schema of the same session.
#[session(prefix = "notes", layer = Staff)]
struct Notes {
    level: String,
}

fn main() {
    assert_eq!(Desk::LEVEL.spec().name(), "desk.level");
    assert_eq!(Notes::LEVEL.spec().name(), "notes.level");
    assert_eq!(Desk::SCHEMA.retired(), ["desk.name"]);
    assert_eq!(Desk::SCHEMA.field("desk.u").map(|field| field.version()), Some(2));
}
