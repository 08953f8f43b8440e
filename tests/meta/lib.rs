//! Tests of the repository itself: the imports between modules, and the tests that prove each
//! requirement.
#![cfg(test)]

mod layering;
mod requirements;
