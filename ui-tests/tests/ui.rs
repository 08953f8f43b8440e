//! The structs that `#[session]` accepts, and the exact text of its errors.

#[test]
fn mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("fail/*/*.rs");
}

#[test]
fn what_is_right_compiles_and_runs() {
    trybuild::TestCases::new().pass("pass/*.rs");
}
