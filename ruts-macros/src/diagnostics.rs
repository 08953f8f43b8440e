//! Collects mistakes, so that one run of the compiler shows all of them.
//!
//! Filled by the readers and the checks, and emptied by `pipeline`.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Error;

/// The errors that were found so far. [`finish`](Self::finish) turns them into `compile_error!`s.
pub(crate) struct Diagnostics {
    errors: Vec<Error>,
    finished: bool,
}

impl Diagnostics {
    pub(crate) fn new() -> Self {
        Self { errors: Vec::new(), finished: false }
    }

    /// Reports a mistake at these tokens.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.errors.push(Error::new_spanned(tokens, message));
    }

    /// Reports an error, which has a span of its own.
    pub(crate) fn push(&mut self, error: Error) {
        self.errors.push(error);
    }

    /// Returns code that makes the compiler show the mistakes.
    pub(crate) fn finish(mut self) -> TokenStream {
        self.finished = true;
        self.errors.iter().map(Error::to_compile_error).collect()
    }
}

impl Drop for Diagnostics {
    fn drop(&mut self) {
        assert!(self.finished || std::thread::panicking(), "all diagnostics should be reported");
    }
}
