//! Replaces borrowed types with owned types.
//!
//! Called by `field`. Does not know whether a type can be stored.

use syn::{GenericArgument, Lifetime, PathArguments, PathSegment, Type, parse_quote};

use crate::diagnostics::Diagnostics;

const MESSAGE: &str = "a session field owns its value: write `String` for `&str`, `Vec<T>` for \
                       `&[T]`, and `T` for any other `&T`";

/// Reports the borrowed parts of a type. Returns the type with owned parts, so that the compiler
/// reports nothing else.
pub(super) fn owned(ty: &Type, diagnostics: &mut Diagnostics) -> Type {
    let mut ty = ty.clone();
    match owned_unsized(&ty) {
        Some(owned) => {
            diagnostics.at(&ty, MESSAGE);
            owned
        }
        None => {
            replace_borrows(&mut ty, diagnostics);
            ty
        }
    }
}

/// Returns the owned type for `str` and for slices.
fn owned_unsized(ty: &Type) -> Option<Type> {
    match ty {
        Type::Path(path) if path.path.is_ident("str") => Some(parse_quote!(::std::string::String)),
        Type::Slice(slice) => {
            let elem = &slice.elem;
            Some(parse_quote!(::std::vec::Vec<#elem>))
        }
        _ => None,
    }
}

fn replace_borrows(ty: &mut Type, diagnostics: &mut Diagnostics) {
    match ty {
        Type::Reference(reference) => {
            diagnostics.at(&*reference, MESSAGE);
            let elem = (*reference.elem).clone();
            *ty = owned_unsized(&elem).unwrap_or(elem);
        }
        Type::Path(path) => {
            let segments = path.path.segments.iter_mut();
            segments.for_each(|segment| replace_in_arguments(segment, diagnostics));
        }
        Type::Tuple(tuple) => {
            tuple.elems.iter_mut().for_each(|elem| replace_borrows(elem, diagnostics));
        }
        Type::Array(array) => replace_borrows(&mut array.elem, diagnostics),
        Type::Paren(paren) => replace_borrows(&mut paren.elem, diagnostics),
        Type::Group(group) => replace_borrows(&mut group.elem, diagnostics),
        _ => {}
    }
}

fn replace_in_arguments(segment: &mut PathSegment, diagnostics: &mut Diagnostics) {
    let PathArguments::AngleBracketed(arguments) = &mut segment.arguments else {
        return;
    };
    for argument in &mut arguments.args {
        match argument {
            GenericArgument::Type(ty) => replace_borrows(ty, diagnostics),
            GenericArgument::Lifetime(lifetime) if lifetime.ident != "static" => {
                let message = "a session field owns its value: write `'static`, or a type without \
                               a lifetime";
                diagnostics.at(&*lifetime, message);
                *lifetime = Lifetime::new("'static", lifetime.span());
            }
            _ => {}
        }
    }
}
