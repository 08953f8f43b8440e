use ruts::session;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Name(String);

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self(name)
    }
}

#[session]
struct Shop {
    #[field(version = 2, migrate(1 => String), writes = 1)]
    name: Name,
    #[field(version = 2, migrate(1 => String), principal)]
    user: Name,
}

fn main() {}
