use bytes::Bytes;

use super::{layout::pack, store::NAME};
use crate::{
    principal::PrincipalKey,
    store::{Change, Fields, Put, Renew, Sign, SignIn, StoreError, StoreErrorKind, Touch},
    token::{Handle, SecretHash},
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

    /// Who signs in, or `''` and nothing.
    pub(super) fn who(self, who: Option<&SignIn<'_>>) -> Self {
        match who {
            Some(who) => self.principal(who.principal).text(&who.assurance.level().to_string()),
            None => self.constant("").constant("0"),
        }
    }

    pub(super) fn principal(self, principal: &PrincipalKey) -> Self {
        self.bytes(Bytes::copy_from_slice(principal.as_bytes()))
    }

    pub(super) fn sign(self, sign: Option<&Sign<'_>>) -> Self {
        match sign {
            Some(Sign::In { who, idle, absolute }) => {
                self.constant("in").who(Some(who)).ttl(*idle).ttl(*absolute)
            }
            Some(Sign::Out) => self.constant("out").who(None).ttl(None).ttl(None),
            None => self.constant("").who(None).ttl(None).ttl(None),
        }
    }

    pub(super) fn renew(self, renew: Option<&Renew<'_>>) -> Self {
        match renew {
            Some(renew) => self
                .hash(Some(renew.secret))
                .ttl(Some(renew.every))
                .millis(renew.grace.as_nanos().div_ceil(1_000_000)),
            None => self.constant("").constant("0").constant("0"),
        }
    }

    /// What tells this command from every other one.
    pub(super) fn nonce(self) -> Result<Self, StoreError> {
        let nonce = getrandom::u64().map_err(|error| {
            StoreError::new(NAME, StoreErrorKind::Unavailable).with_source(error)
        })?;
        Ok(self.bytes(format!("{nonce:016x}-").into()))
    }

    pub(super) fn handle(self, handle: &Handle) -> Self {
        self.bytes(Bytes::copy_from_slice(handle.as_bytes()))
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
