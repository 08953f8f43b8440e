//! The dependencies and numbers of fields of generated crates.
//!
//! Used by all benchmarks. Does not know how the crates are compiled.

/// Numbers of fields of a schema or an app.
pub(crate) const SIZES: [usize; 3] = [1, 20, 200];

pub(crate) const SERDE: &str = "serde = { version = '1', features = ['derive'] }";

/// Returns the dependency on ruts with these keys.
pub(crate) fn ruts(keys: &str) -> String {
    format!("ruts = {{ path = '{}/../ruts', {keys} }}", env!("CARGO_MANIFEST_DIR"))
}
