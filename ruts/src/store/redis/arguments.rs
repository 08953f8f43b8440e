use bytes::Bytes;

use super::layout::pack;
use crate::{
    store::{Change, Fields, Put, Touch},
    token::SecretHash,
    ttl::Ttl,
};

/// The arguments of a script.
pub(super) struct Arguments(pub(super) Vec<Bytes>);

impl Arguments {
    /// Those of a script that begins with the secret.
    pub(super) fn of(secret: &SecretHash, room: usize) -> Self {
        Self::new(room).hash(Some(secret))
    }

    pub(super) fn new(room: usize) -> Self {
        Self(Vec::with_capacity(room))
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        self.0.push(Bytes::copy_from_slice(text.as_bytes()));
        self
    }

    pub(super) fn constant(mut self, text: &'static str) -> Self {
        self.0.push(Bytes::from_static(text.as_bytes()));
        self
    }

    pub(super) fn bytes(mut self, bytes: Bytes) -> Self {
        self.0.push(bytes);
        self
    }

    /// `*` for all, or `=` and the names.
    pub(super) fn names(self, fields: Fields<'_>) -> Self {
        match fields {
            Fields::All => self.constant("*"),
            Fields::Named(names) => {
                names.iter().fold(self.constant("="), |arguments, name| arguments.text(name))
            }
        }
    }

    pub(super) fn hash(self, hash: Option<&SecretHash>) -> Self {
        self.bytes(hash.map_or_else(Bytes::new, |hash| Bytes::copy_from_slice(hash.as_bytes())))
    }

    pub(super) fn millis(self, millis: u128) -> Self {
        match millis {
            0 => self.constant("0"),
            _ => self.bytes(millis.to_string().into()),
        }
    }

    pub(super) fn ttl(self, ttl: Option<Ttl>) -> Self {
        self.millis(ttl.map_or(0, |ttl| ttl.as_millis().into()))
    }

    pub(super) fn touch(self, touch: Option<Touch>) -> Self {
        self.ttl(touch.map(|touch| touch.idle))
            .millis(touch.map_or(0, |touch| touch.after.as_nanos().div_ceil(1_000_000)))
    }

    pub(super) fn put(self, put: &Put<'_>) -> Self {
        self.text(put.name).bytes(pack(put.hot, put.value)).ttl(put.ttl)
    }

    pub(super) fn change(self, change: &Change<'_>) -> Self {
        match change {
            Change::Set(new) => self.constant("set").put(new),
            Change::Remove(name) => self.constant("remove").text(name).constant("").constant("0"),
            Change::Expire(name, ttl) => {
                self.constant("expire").text(name).constant("").ttl(Some(*ttl))
            }
        }
    }
}
