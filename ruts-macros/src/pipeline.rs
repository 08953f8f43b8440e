//! Runs the steps of an expansion: parse the syntax into a raw model, check it into a model,
//! generate code.
//!
//! Called by the macro function. Only this file knows all steps.

use proc_macro2::TokenStream;

use crate::{check, diagnostics::Diagnostics, expand, parse};

/// Expands `#[session(args)] item`. Reports all mistakes together.
pub(crate) fn run(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut diagnostics = Diagnostics::new();
    let model = parse::session(args, item, &mut diagnostics)
        .map(|raw| check::session(raw, &mut diagnostics));
    let mut output = diagnostics.finish();
    // Code is generated even after a mistake. Otherwise every use of the type would be an error
    // too.
    if let Some(model) = model {
        output.extend(expand::session(&model));
    }
    output
}
