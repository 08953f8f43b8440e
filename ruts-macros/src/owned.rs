//! Types that borrow, and what to write instead.

use syn::{GenericArgument, Lifetime, PathArguments, PathSegment, Type, parse_quote};

use crate::diag::Diagnostics;

const MESSAGE: &str = "a session owns what it holds: write `String` for `&str`, `Vec<T>` for `&[T]`, \
                       and `T` for any other `&T`";

/// The type with all that it borrows replaced, so that only the borrowing is reported.
pub(crate) fn owned(ty: &Type, diagnostics: &mut Diagnostics) -> Type {
    let mut ty = ty.clone();
    match sized(&ty) {
        Some(sized) => {
            diagnostics.at(&ty, MESSAGE);
            sized
        }
        None => {
            own(&mut ty, diagnostics);
            ty
        }
    }
}

/// What owns the values of a type without a size.
fn sized(ty: &Type) -> Option<Type> {
    match ty {
        Type::Path(path) if path.path.is_ident("str") => Some(parse_quote!(::std::string::String)),
        Type::Slice(slice) => {
            let elem = &slice.elem;
            Some(parse_quote!(::std::vec::Vec<#elem>))
        }
        _ => None,
    }
}

fn own(ty: &mut Type, diagnostics: &mut Diagnostics) {
    match ty {
        Type::Reference(reference) => {
            diagnostics.at(&*reference, MESSAGE);
            let elem = (*reference.elem).clone();
            *ty = sized(&elem).unwrap_or(elem);
        }
        Type::Path(path) => {
            path.path.segments.iter_mut().for_each(|segment| own_arguments(segment, diagnostics));
        }
        Type::Tuple(tuple) => tuple.elems.iter_mut().for_each(|elem| own(elem, diagnostics)),
        Type::Array(array) => own(&mut array.elem, diagnostics),
        Type::Paren(paren) => own(&mut paren.elem, diagnostics),
        Type::Group(group) => own(&mut group.elem, diagnostics),
        _ => {}
    }
}

fn own_arguments(segment: &mut PathSegment, diagnostics: &mut Diagnostics) {
    let PathArguments::AngleBracketed(arguments) = &mut segment.arguments else {
        return;
    };
    for argument in &mut arguments.args {
        match argument {
            GenericArgument::Type(ty) => own(ty, diagnostics),
            GenericArgument::Lifetime(lifetime) if lifetime.ident != "static" => {
                let message = "a session owns what it holds: write `'static`, or a type without a \
                               lifetime";
                diagnostics.at(&*lifetime, message);
                *lifetime = Lifetime::new("'static", lifetime.span());
            }
            _ => {}
        }
    }
}
