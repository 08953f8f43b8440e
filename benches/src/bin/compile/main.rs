//! Measures compile times.
//!
//! | argument | measures |
//! | --- | --- |
//! | none | the time that `#[session]` adds to a crate, over a serde struct of the same fields |
//! | `--clean` | also the time that `ruts` adds to a clean build, by features |
//! | `--peers` | the same app with ruts and with each peer |
//!
//! The compiled crates are generated below the target directory, with the versions of this
//! repository's `Cargo.lock`.

mod clean;
mod inputs;
mod peers;
mod schemas;
mod workspace;

use std::env;

use crate::workspace::Failure;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => schemas::print(),
        ["--clean"] => {
            schemas::print()?;
            clean::print()
        }
        ["--peers"] => peers::print(),
        _ => Err("the only arguments are `--clean` and `--peers`".into()),
    }
}
