use super::SessionMap;
use crate::{
    error::Error,
    field::{Field, FieldSpec, Readable},
};

/// A typed key, or a tuple of up to eight: what [`Session::read`](crate::Session::read) reads in
/// one round trip.
pub trait FieldSet: Send {
    /// What reading them yields.
    type Values;

    /// Adds what is known of the fields.
    #[doc(hidden)]
    fn specs(&self, specs: &mut Vec<&'static FieldSpec>);

    #[doc(hidden)]
    #[allow(missing_docs, clippy::missing_errors_doc, reason = "not for callers")]
    fn values(self, fields: &SessionMap) -> Result<Self::Values, Error>;
}

impl<T, M: Readable<T>> FieldSet for Field<T, M> {
    type Values = M::Value;

    fn specs(&self, specs: &mut Vec<&'static FieldSpec>) {
        specs.push(self.spec());
    }

    fn values(self, fields: &SessionMap) -> Result<M::Value, Error> {
        fields.read(self)
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
            fn values(self, fields: &SessionMap) -> Result<Self::Values, Error> {
                let ($($key,)+) = self;
                Ok(($($key.values(fields)?,)+))
            }
        }
    };
}

/// No field.
impl FieldSet for () {
    type Values = ();

    fn specs(&self, _: &mut Vec<&'static FieldSpec>) {}

    fn values(self, _: &SessionMap) -> Result<(), Error> {
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
