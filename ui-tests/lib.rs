//! Nothing here: see `tests/ui.rs`.
