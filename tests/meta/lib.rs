//! Tests of the repository itself: the imports between modules, and the tests that prove each
//! requirement and each bound.
#![cfg(test)]

mod bounds;
mod guide;
mod layering;
mod requirements;
