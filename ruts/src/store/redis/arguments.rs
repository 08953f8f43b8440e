use bytes::{BufMut, Bytes, BytesMut};

use super::{
    layout::{MOMENT, MOST, pack},
    store::NAME,
};
use crate::{
    principal::PrincipalKey,
    store::{
        AbsoluteDeadline, AuthChange, Change, FieldWrite, NewSignIn, Precondition, Renew,
        StoreError, StoreErrorKind, Touch, Update,
    },
    token::{SecretHash, SessionId},
    ttl::Ttl,
};

/// The arguments of a script, cut from one buffer.
pub(super) struct Arguments {
    buffer: BytesMut,
    list: Vec<Bytes>,
}

/// How long an argument is that nobody has measured, and the first one of a session's script.
const SHORT: usize = 24;
const FIRST: usize = 48;

impl Arguments {
    /// Those of a script of a session: a secret or a principal, and two numbers of milliseconds.
    pub(super) fn of(who: &[u8; 32], millis: [u64; 2], mode: &str, room: usize) -> Self {
        Self::new(1 + room).packed(who, &millis, mode)
    }

    pub(super) fn new(room: usize) -> Self {
        let buffer = BytesMut::with_capacity(FIRST + room * SHORT);
        Self { buffer, list: Vec::with_capacity(room) }
    }

    /// What was written to the buffer, and then others.
    pub(super) fn after(buffer: BytesMut) -> Self {
        Self { buffer, list: Vec::new() }.put(|_| ())
    }

    /// What is written to the buffer, and a key of it.
    pub(super) fn cut(&mut self, write: impl FnOnce(&mut BytesMut)) -> Bytes {
        write(&mut self.buffer);
        self.buffer.split().freeze()
    }

    fn put(mut self, write: impl FnOnce(&mut BytesMut)) -> Self {
        let argument = self.cut(write);
        self.bytes(argument)
    }

    /// Numbers of milliseconds between two texts.
    pub(super) fn packed(self, before: &[u8], millis: &[u64], after: &str) -> Self {
        self.put(|buffer| {
            buffer.put_slice(before);
            millis.iter().for_each(|millis| buffer.put_uint(*millis, MOMENT));
            buffer.put_slice(after.as_bytes());
        })
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.put(|buffer| buffer.put_slice(text.as_bytes()))
    }

    pub(super) fn texts<'a>(self, texts: impl IntoIterator<Item = &'a str>) -> Self {
        texts.into_iter().fold(self, Self::text)
    }

    pub(super) fn constant(self, text: &'static str) -> Self {
        self.bytes(Bytes::from_static(text.as_bytes()))
    }

    pub(super) fn bytes(mut self, bytes: Bytes) -> Self {
        self.list.push(bytes);
        self
    }

    /// One after the other.
    pub(super) fn list(self) -> Vec<Bytes> {
        self.list
    }

    pub(super) fn hash(self, hash: Option<&SecretHash>) -> Self {
        match hash {
            Some(hash) => self.put(|buffer| buffer.put_slice(hash.as_bytes())),
            None => self.constant(""),
        }
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

    /// Who signs in, or `''` and nothing.
    pub(super) fn who(self, who: Option<&NewSignIn<'_>>) -> Self {
        match who {
            Some(who) => self.principal(who.principal).text(&who.assurance.level().to_string()),
            None => self.constant("").constant("0"),
        }
    }

    pub(super) fn principal(self, principal: &PrincipalKey) -> Self {
        self.put(|buffer| buffer.put_slice(principal.as_bytes()))
    }

    /// What else an update does, and under which conditions: what belongs to each, and a letter for it.
    pub(super) fn conditions(mut self, update: &Update<'_>) -> (String, Self) {
        let Update { precondition: expect, renew, rotate, sign, absolute, changes, .. } = update;
        let mut letters = String::new();
        if let Some(Precondition { name, value }) = expect {
            letters.push('e');
            self = match value {
                Some(value) => self.constant("=").text(name).bytes(Bytes::clone(value)),
                None => self.constant("-").text(name).constant(""),
            };
        }
        if let Some(Renew { secret, every, grace }) = renew {
            letters.push('n');
            let grace = grace.as_nanos().div_ceil(1_000_000);
            self = self.hash(Some(secret)).ttl(Some(*every)).millis(grace);
        }
        if rotate.is_some() {
            letters.push('r');
            self = self.hash(*rotate);
        }
        match sign {
            Some(AuthChange::In { who, idle, absolute }) => {
                letters.push('i');
                self = self.who(Some(who)).ttl(*idle).ttl(*absolute);
            }
            Some(AuthChange::Out) => letters.push('o'),
            None => {}
        }
        if let Some(AbsoluteDeadline { from_now, from_creation }) = absolute {
            letters.push('d');
            self = self.ttl(Some(*from_now)).ttl(*from_creation);
        }
        let kinds = kinds(changes.iter().copied());
        if !kinds.is_empty() {
            letters.push('c');
            self = self.bytes(kinds);
        }
        (letters, self)
    }

    /// Name and value of each change.
    pub(super) fn changes<'a>(mut self, changes: impl Iterator<Item = Change<'a>> + Clone) -> Self {
        self.make_room(changes.clone());
        changes.fold(self, |arguments, change| arguments.text(change.name()).value(change))
    }

    /// Value of each change.
    pub(super) fn values<'a>(mut self, changes: impl Iterator<Item = Change<'a>> + Clone) -> Self {
        self.make_room(changes.clone());
        changes.fold(self, Self::value)
    }

    fn make_room<'a>(&mut self, changes: impl Iterator<Item = Change<'a>>) {
        let lengths = changes.map(|change| match change {
            Change::Set(put) => put.name.len() + 1 + MOMENT + put.value.len(),
            Change::Remove(name) | Change::Expire(name, _) => name.len(),
        });
        self.buffer.reserve(lengths.sum::<usize>() + SHORT);
    }

    fn value(self, change: Change<'_>) -> Self {
        match change {
            Change::Set(put) => self.put(|buffer| pack(buffer, put.hot, None, put.value)),
            Change::Remove(_) | Change::Expire(..) => self.constant(""),
        }
    }

    /// What tells this command from every other one.
    pub(super) fn nonce(self) -> Result<Self, StoreError> {
        let nonce = getrandom::u64().map_err(|error| {
            StoreError::new(NAME, StoreErrorKind::Unavailable).with_source(error)
        })?;
        Ok(self.bytes(format!("{nonce:016x}-").into()))
    }

    pub(super) fn id(self, id: &SessionId) -> Self {
        self.put(|buffer| buffer.put_slice(id.as_bytes()))
    }
}

/// What changes do to their fields, seven bytes of each; none if each sets its field for ever.
pub(super) fn kinds<'a>(changes: impl Iterator<Item = Change<'a>> + Clone) -> Bytes {
    let is_plain = |change| matches!(change, Change::Set(FieldWrite { ttl: None, .. }));
    let mut kinds = BytesMut::new();
    if !changes.clone().all(is_plain) {
        for change in changes {
            let (operation, ttl) = match change {
                Change::Set(put) => (b'=', put.ttl),
                Change::Remove(_) => (b'-', None),
                Change::Expire(_, ttl) => (b'+', Some(ttl)),
            };
            kinds.put_u8(operation);
            kinds.put_uint(ttl.map_or(0, Ttl::as_millis), MOMENT);
        }
    }
    kinds.freeze()
}

/// What a [`Touch`] asks for, in milliseconds.
pub(super) fn touch(touch: Option<Touch>) -> [u64; 2] {
    touch.map_or([0, 0], |touch| {
        let after = touch.after.as_nanos().div_ceil(1_000_000);
        [touch.idle.as_millis(), after.try_into().unwrap_or(u64::MAX).min(MOST)]
    })
}
