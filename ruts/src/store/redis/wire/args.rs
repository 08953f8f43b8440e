//! Arguments of scripts: [`Arguments`], and the parts that several scripts share.
//!
//! Used by every file that calls a script. The head of each file in `lua/` describes the arguments
//! of its script.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    super::error::NAME,
    moment::{MAX_MOMENT, MOMENT},
    value,
};
use crate::{
    auth::{Assurance, PrincipalKey},
    store::{
        AbsoluteDeadline, AuthChange, Change, Credentials, FieldWrite, NewSignIn, Precondition,
        Renew, StoreError, StoreErrorKind, Touch, Update,
    },
    token::{SecretHash, SessionId},
    ttl::Ttl,
};

/// The arguments of a script, split off one buffer.
pub(in crate::store::redis) struct Arguments {
    buffer: BytesMut,
    list: Vec<Bytes>,
}

/// Space for an argument of unknown length, and for the first one of a session's script.
const SHORT: usize = 24;
const FIRST: usize = 48;

impl Arguments {
    /// Begins the arguments of a session's script with the first argument. It packs the hash of a
    /// secret or a principal key, two durations in milliseconds, and letters.
    pub(in crate::store::redis) fn for_session(
        subject: &[u8; 32],
        millis: [u64; 2],
        letters: &str,
        capacity: usize,
    ) -> Self {
        Self::new(1 + capacity).packed(subject, &millis, letters)
    }

    pub(in crate::store::redis) fn new(capacity: usize) -> Self {
        let buffer = BytesMut::with_capacity(FIRST + capacity * SHORT);
        Self { buffer, list: Vec::with_capacity(capacity) }
    }

    /// Returns arguments that begin with `head`.
    pub(in crate::store::redis) fn with_head(head: BytesMut) -> Self {
        Self { buffer: head, list: Vec::new() }.put(|_| ())
    }

    /// Writes bytes and splits them off the buffer without adding an argument, for example for a
    /// key.
    pub(in crate::store::redis) fn split_off(
        &mut self,
        write: impl FnOnce(&mut BytesMut),
    ) -> Bytes {
        write(&mut self.buffer);
        self.buffer.split().freeze()
    }

    fn put(mut self, write: impl FnOnce(&mut BytesMut)) -> Self {
        let argument = self.split_off(write);
        self.bytes(argument)
    }

    /// Adds one argument: the bytes `before`, the durations or moments `millis`, and the letters
    /// `after`.
    pub(in crate::store::redis) fn packed(
        self,
        before: &[u8],
        millis: &[u64],
        after: &str,
    ) -> Self {
        self.put(|buffer| {
            buffer.put_slice(before);
            millis.iter().for_each(|millis| buffer.put_uint(*millis, MOMENT));
            buffer.put_slice(after.as_bytes());
        })
    }

    pub(in crate::store::redis) fn text(self, text: &str) -> Self {
        self.put(|buffer| buffer.put_slice(text.as_bytes()))
    }

    pub(in crate::store::redis) fn texts<'a>(
        self,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        texts.into_iter().fold(self, Self::text)
    }

    pub(in crate::store::redis) fn constant(self, text: &'static str) -> Self {
        self.bytes(Bytes::from_static(text.as_bytes()))
    }

    pub(in crate::store::redis) fn bytes(mut self, bytes: Bytes) -> Self {
        self.list.push(bytes);
        self
    }

    pub(in crate::store::redis) fn into_list(self) -> Vec<Bytes> {
        self.list
    }

    pub(in crate::store::redis) fn secret(self, secret: Option<&SecretHash>) -> Self {
        match secret {
            Some(secret) => self.put(|buffer| buffer.put_slice(secret.as_bytes())),
            None => self.constant(""),
        }
    }

    pub(in crate::store::redis) fn id(self, id: &SessionId) -> Self {
        self.put(|buffer| buffer.put_slice(id.as_bytes()))
    }

    pub(in crate::store::redis) fn millis(self, millis: u128) -> Self {
        match millis {
            0 => self.constant("0"),
            _ => self.bytes(millis.to_string().into()),
        }
    }

    pub(in crate::store::redis) fn ttl(self, ttl: Option<Ttl>) -> Self {
        self.millis(ttl.map_or(0, |ttl| ttl.as_millis().into()))
    }

    /// Adds the principal that signs in and its assurance, or an empty string and zero.
    pub(in crate::store::redis) fn sign_in(self, sign_in: Option<&NewSignIn<'_>>) -> Self {
        match sign_in {
            Some(who) => self.principal(who.principal).assurance(who.assurance),
            None => self.constant("").constant("0"),
        }
    }

    fn assurance(self, assurance: Assurance) -> Self {
        self.text(&assurance.level().to_string())
    }

    fn principal(self, principal: &PrincipalKey) -> Self {
        self.put(|buffer| buffer.put_slice(principal.as_bytes()))
    }

    /// Adds the parts of an update besides its changes, and returns a letter for each.
    pub(in crate::store::redis) fn update_parts(mut self, update: &Update<'_>) -> (String, Self) {
        let Update { precondition, renew, rotate, auth_change, absolute, changes, .. } = update;
        let mut letters = String::new();
        if let Some(Precondition { name, value }) = precondition {
            letters.push('e');
            self = match value {
                Some(value) => self.constant("=").text(name).bytes(Bytes::clone(value)),
                None => self.constant("-").text(name).constant(""),
            };
        }
        if let Some(Renew { secret, every, grace }) = renew {
            letters.push('n');
            let grace = grace.as_nanos().div_ceil(1_000_000);
            self = self.secret(Some(secret)).ttl(Some(*every)).millis(grace);
        }
        if rotate.is_some() {
            letters.push('r');
            self = self.secret(*rotate);
        }
        match auth_change {
            Some(AuthChange::In { who, idle, absolute }) => {
                letters.push('i');
                let keeps = if who.keep_fields { "1" } else { "0" };
                self = self.sign_in(Some(who)).ttl(*idle).ttl(*absolute).constant(keeps);
            }
            Some(AuthChange::Lapse(assurance)) => {
                letters.push('l');
                self = self.assurance(*assurance);
            }
            Some(AuthChange::Out) => letters.push('o'),
            None => {}
        }
        if let Some(AbsoluteDeadline { from_now, from_creation }) = absolute {
            letters.push('d');
            self = self.ttl(Some(*from_now)).ttl(*from_creation);
        }
        let kinds = change_kinds(changes.iter().copied());
        if !kinds.is_empty() {
            letters.push('c');
            self = self.bytes(kinds);
        }
        (letters, self)
    }

    /// Adds the name and the value of each change.
    pub(in crate::store::redis) fn changes<'a>(
        mut self,
        changes: impl Iterator<Item = Change<'a>> + Clone,
    ) -> Self {
        self.reserve(changes.clone());
        changes.fold(self, |arguments, change| arguments.text(change.name()).value(change))
    }

    /// Adds the value of each change.
    pub(in crate::store::redis) fn values<'a>(
        mut self,
        changes: impl Iterator<Item = Change<'a>> + Clone,
    ) -> Self {
        self.reserve(changes.clone());
        changes.fold(self, Self::value)
    }

    fn reserve<'a>(&mut self, changes: impl Iterator<Item = Change<'a>>) {
        let lengths = changes.map(|change| match change {
            Change::Set(write) => write.name.len() + 1 + MOMENT + write.value.len(),
            Change::Remove(name) | Change::Expire(name, _) => name.len(),
        });
        self.buffer.reserve(lengths.sum::<usize>() + SHORT);
    }

    fn value(self, change: Change<'_>) -> Self {
        match change {
            Change::Set(write) => {
                self.put(|buffer| value::encode(buffer, write.cache_policy, None, write.value))
            }
            Change::Remove(_) | Change::Expire(..) => self.constant(""),
        }
    }

    /// Adds a random string that, in practice, no other command has.
    pub(in crate::store::redis) fn nonce(self) -> Result<Self, StoreError> {
        let nonce = getrandom::u64().map_err(|error| {
            StoreError::new(NAME, StoreErrorKind::Unavailable).with_source(error)
        })?;
        Ok(self.bytes(format!("{nonce:016x}-").into()))
    }
}

/// Returns seven bytes for each change: its kind and a TTL. Empty if each change sets a field
/// without a TTL.
pub(in crate::store::redis) fn change_kinds<'a>(
    changes: impl Iterator<Item = Change<'a>> + Clone,
) -> Bytes {
    let is_plain = |change| matches!(change, Change::Set(FieldWrite { ttl: None, .. }));
    let mut kinds = BytesMut::new();
    if !changes.clone().all(is_plain) {
        for change in changes {
            let (kind, ttl) = match change {
                Change::Set(write) => (b'=', write.ttl),
                Change::Remove(_) => (b'-', None),
                Change::Expire(_, ttl) => (b'+', Some(ttl)),
            };
            kinds.put_u8(kind);
            kinds.put_uint(ttl.map_or(0, Ttl::as_millis), MOMENT);
        }
    }
    kinds.freeze()
}

/// Returns the idle time of a [`Touch`] and the part of it after which the touch is due, in
/// milliseconds.
pub(in crate::store::redis) fn touch_millis(touch: Option<Touch>) -> [u64; 2] {
    touch.map_or([0, 0], |touch| {
        let after = touch.after.as_nanos().div_ceil(1_000_000);
        [touch.idle.as_millis(), after.try_into().unwrap_or(u64::MAX).min(MAX_MOMENT)]
    })
}

/// Returns the hash of the presented secret, as scripts expect it. Zeros stand for internal
/// credentials, because no secret has this hash.
pub(in crate::store::redis) fn presented(credentials: Credentials<'_>) -> [u8; 32] {
    credentials.secret().map_or([0; 32], |secret| *secret.as_bytes())
}
