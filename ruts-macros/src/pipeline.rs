//! Syntax to raw model to model to code.
//!
//! Called by the macro itself. The only file that knows all steps.

use proc_macro2::TokenStream;

use crate::{check, diagnostics::Diagnostics, expand, parse};

/// Expands `#[session(args)] item`. Reports all mistakes together.
pub(crate) fn run(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut diagnostics = Diagnostics::new();
    let model = parse::session(args, item, &mut diagnostics)
        .map(|raw| check::session(raw, &mut diagnostics));
    let mut output = diagnostics.finish();
    // Generated even after a mistake, or every use of the type would be reported too.
    if let Some(model) = model {
        output.extend(expand::session(&model));
    }
    output
}
