//! Syntax to raw to model to code, with all mistakes reported at once.

use proc_macro2::TokenStream;

use crate::{check, diag::Diagnostics, expand, parse};

pub(crate) fn run(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut diagnostics = Diagnostics::new();
    let model = parse::session(args, item, &mut diagnostics)
        .map(|raw| check::session(raw, &mut diagnostics));
    let mut output = diagnostics.finish();
    // What is wrong was left out of the model, so that code that uses the type stays quiet.
    if let Some(model) = model {
        output.extend(expand::session(&model));
    }
    output
}
