//! Finds the type inside an `Option`.
//!
//! Called by `field` and `versions`. Knows the syntax of types, and nothing about fields.

use syn::{GenericArgument, PathArguments, Type};

/// Returns the type inside an `Option`, written as `Option`, `std::option::Option` or
/// `core::option::Option`.
pub(super) fn inner_of_option(ty: &Type) -> Option<&Type> {
    let path = match ty {
        Type::Path(path) => path,
        // A type that a `macro_rules` macro received as a fragment.
        Type::Group(group) => return inner_of_option(&group.elem),
        _ => return None,
    };
    let segments: Vec<_> = path.path.segments.iter().collect();
    let (last, before) = segments.split_last()?;
    let before: Vec<_> = before.iter().map(|segment| segment.ident.to_string()).collect();
    let is_standard = match before.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => true,
        [krate, module] => (krate == "std" || krate == "core") && module == "option",
        _ => false,
    };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) if is_standard && last.ident == "Option" => Some(inner),
        _ => None,
    }
}
