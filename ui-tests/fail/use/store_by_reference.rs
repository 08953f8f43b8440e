use ruts::{SessionLayer, store::memory::MemoryStore};

fn main() {
    let store = MemoryStore::new();
    let _ = SessionLayer::new(&store);
    let _ = SessionLayer::new(MemoryStore::builder());
    let _ = SessionLayer::new("redis://localhost");
}
