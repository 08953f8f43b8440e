use std::sync::Arc;

use ruts::{session, store::memory::MemoryStore};

#[session]
struct Shop {
    #[field(principal)]
    user: u64,
}

fn sessions(store: &Arc<MemoryStore>) -> ruts::session::PrincipalSessions {
    Shop::sessions(store).by_user("ada")
}

fn main() {}
