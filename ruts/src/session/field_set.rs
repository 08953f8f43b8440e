//! [`FieldSet`]: a tuple of typed keys that one call reads.
//!
//! Used by `Session::read`, `SessionMap::read` and lists of sessions. Knows nothing about requests.

use crate::{
    error::Error,
    field::{Field, FieldSpec, Readable},
};

/// A typed key, or a tuple of up to eight field sets: the argument of
/// [`Session::read`](crate::Session::read), [`SessionMap::read`](crate::store::SessionMap::read)
/// and [`PrincipalSessions::list`](super::PrincipalSessions::list).
pub trait FieldSet: Send {
    /// The values of the fields.
    type Values;

    /// Adds the specs of the fields.
    #[doc(hidden)]
    fn specs(&self, specs: &mut Vec<&'static FieldSpec>);

    #[doc(hidden)]
    #[allow(missing_docs, clippy::missing_errors_doc, reason = "not for callers")]
    fn values<F: FieldSource>(self, fields: &F) -> Result<Self::Values, Error>;
}

/// Source of stored fields, which decodes a field by its typed key.
#[doc(hidden)]
pub trait FieldSource {
    #[allow(missing_docs, clippy::missing_errors_doc, reason = "not for callers")]
    fn field<T, M: Readable<T>>(&self, field: Field<T, M>) -> Result<M::Value, Error>;
}

impl<T, M: Readable<T>> FieldSet for Field<T, M> {
    type Values = M::Value;

    fn specs(&self, specs: &mut Vec<&'static FieldSpec>) {
        specs.push(self.spec());
    }

    fn values<F: FieldSource>(self, fields: &F) -> Result<M::Value, Error> {
        fields.field(self)
    }
}

macro_rules! tuple {
    ($($key:ident)+) => {
        impl<$($key: FieldSet),+> FieldSet for ($($key,)+) {
            type Values = ($($key::Values,)+);

            #[allow(non_snake_case, reason = "the types' names serve as the values'")]
            fn specs(&self, specs: &mut Vec<&'static FieldSpec>) {
                let ($($key,)+) = self;
                $($key.specs(specs);)+
            }

            #[allow(non_snake_case, reason = "the types' names serve as the values'")]
            fn values<Source: FieldSource>(self, fields: &Source) -> Result<Self::Values, Error> {
                let ($($key,)+) = self;
                Ok(($($key.values(fields)?,)+))
            }
        }
    };
}

/// The empty set.
impl FieldSet for () {
    type Values = ();

    fn specs(&self, _: &mut Vec<&'static FieldSpec>) {}

    fn values<F: FieldSource>(self, _: &F) -> Result<(), Error> {
        Ok(())
    }
}

tuple!(A);
tuple!(A B);
tuple!(A B C);
tuple!(A B C D);
tuple!(A B C D E);
tuple!(A B C D E F);
tuple!(A B C D E F G);
tuple!(A B C D E F G H);
