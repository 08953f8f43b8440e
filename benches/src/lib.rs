//! Benchmarks of ruts; see `src/bin`.
