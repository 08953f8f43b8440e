//! All that generated code names. Not for anybody else; it changes without notice.

pub use std::time::Duration;

#[cfg(feature = "axum")]
pub use axum_core::extract::FromRequestParts;
pub use http::request::Parts;

pub use crate::{
    field::{Field, FieldSpec, FieldValue, Maybe, Mode, Once, OrDefault, Principal, StoredAs},
    schema::SessionSchema,
    session::{
        Edit, Entry, LoadFuture, PrincipalSessions, Session, SessionIndex, SessionMap,
        TypedSession, Unnamed, Values, WriteFuture,
    },
    store::IntoStore,
    ttl::{CachePolicy, Ttl},
};

/// The codecs that are compiled in: naming another is an error that tells the feature.
pub mod codec {
    #[cfg(feature = "bincode")]
    pub const BINCODE: crate::Codec = crate::Codec::Bincode;

    #[cfg(feature = "messagepack")]
    pub const MESSAGEPACK: crate::Codec = crate::Codec::MessagePack;
}

/// The key of a field. A free function, so that a type without serde gets our message: the same
/// bound on a method would be reported in rustc's words.
pub const fn field<T: FieldValue>(spec: &'static FieldSpec) -> Field<T> {
    Field::new(spec)
}

/// The entry behind a generated accessor.
pub fn entry<'a, T, M: Mode>(
    session: &'a Session,
    schema: &'static SessionSchema,
    field: Field<T, M>,
) -> Entry<'a, T, M> {
    session.entry_of(schema, field)
}

/// All readable fields of a schema.
pub fn load<'a, V: Values>(
    session: &'a Session,
    schema: &'static SessionSchema,
) -> LoadFuture<'a, V> {
    session.load(schema)
}
