//! The common parts of the batch scripts: their first argument, and their packed answers.
//!
//! Used by the batches. Every decoder returns `None` for a malformed reply.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    super::error::CommandError,
    msgpack::{self, Token},
    record::RecordReply,
    reply::{Reply, stored_field},
};
use crate::{field::FieldName, store::Loaded, token::SecretHash};

/// Returns the distinct items, and for each item its position among them, counted from 1.
pub(in crate::store::redis) fn distinct<T: PartialEq>(
    items: impl Iterator<Item = T>,
) -> (Vec<T>, Vec<u8>) {
    let mut lists = Vec::new();
    let places = items.map(|item| {
        let place = lists.iter().position(|list| *list == item).unwrap_or_else(|| {
            lists.push(item);
            lists.len() - 1
        });
        1 + place as u8
    });
    let places = places.collect();
    (lists, places)
}

/// Returns the first argument of a batch: the number of lists, the length of each, and bytes about
/// each session, such as its list.
pub(in crate::store::redis) fn batch_head(
    lengths: impl ExactSizeIterator<Item = usize>,
    sessions: &[u8],
) -> BytesMut {
    let mut head = BytesMut::with_capacity(1 + lengths.len() + sessions.len());
    head.put_u8(lengths.len() as u8);
    lengths.for_each(|length| head.put_u8(length as u8));
    head.put_slice(sessions);
    head
}

/// Divides the answer of `lua/cache/lookup_batch.lua` among `count` entries.
#[cfg(feature = "layered-store")]
pub(in crate::store::redis) fn lookup_parts(reply: &Reply, count: usize) -> Option<Vec<Bytes>> {
    let Reply::Bytes(packed) = reply else { return None };
    let mut rest = &packed[..];
    match msgpack::next(&mut rest)? {
        Token::List(length) if length == count => {}
        _ => return None,
    }
    (0..count).map(|_| msgpack::skip(&mut rest).map(|part| packed.slice_ref(part))).collect()
}

/// Divides the answer of `lua/update_batch.lua` among `count` sessions.
pub(in crate::store::redis) fn update_parts(reply: &Reply, count: usize) -> Option<Vec<Reply>> {
    let Reply::Bytes(packed) = reply else { return None };
    match msgpack::decode(packed)? {
        Reply::Array(parts) if parts.len() == count => Some(parts),
        _ => None,
    }
}

/// Returns the error of one session, if its update failed.
pub(in crate::store::redis) fn update_error(part: &Reply) -> Option<CommandError> {
    let Reply::Bytes(bytes) = part else { return None };
    let text = String::from_utf8_lossy(bytes.strip_prefix(b"failed ")?).into_owned();
    let code = text.split(' ').next().unwrap_or_default();
    let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let code = if is_code { code } else { "ERR" }.to_owned();
    Some(CommandError::Server(code, text.into()))
}

/// The part of one session in the answer of `lua/load_batch.lua`.
pub(in crate::store::redis) struct ReadPart {
    now: u64,
    epoch: Option<u64>,
    packed: Bytes,
}

/// Divides the answer of `lua/load_batch.lua` among `count` sessions.
pub(in crate::store::redis) fn read_parts(reply: &Reply, count: usize) -> Option<Vec<ReadPart>> {
    let Reply::Bytes(packed) = reply else { return None };
    let mut rest = &packed[..];
    let mut next = || msgpack::next(&mut rest);
    let (Token::List(items), Token::Number(now), Token::List(epochs)) = (next()?, next()?, next()?)
    else {
        return None;
    };
    if (items, epochs) != (2 + count, count) {
        return None;
    }
    let epoch = |_| {
        let digits = msgpack::bytes(&mut rest)?.map_or(Ok("0"), std::str::from_utf8);
        Some(digits.ok().and_then(|digits| digits.parse().ok()))
    };
    let epochs = (0..count).map(epoch).collect::<Option<Vec<_>>>()?;
    let part = |epoch| {
        let packed = packed.slice_ref(msgpack::skip(&mut rest)?);
        Some(ReadPart { now, epoch, packed })
    };
    epochs.into_iter().map(part).collect()
}

impl ReadPart {
    /// Returns the length in bytes.
    pub(in crate::store::redis) fn len(&self) -> usize {
        self.packed.len()
    }

    /// Decodes the session. The inner `None` stands for a session that is not on the fast path, or
    /// was not read.
    pub(in crate::store::redis) fn loaded(
        &self,
        secret: &SecretHash,
        touch: [u64; 2],
        names: &[FieldName],
    ) -> Option<Option<Loaded>> {
        // A copy, so that a value does not keep the whole batch in memory.
        let packed = Bytes::copy_from_slice(&self.packed);
        let mut rest = &packed[..];
        match msgpack::next(&mut rest)? {
            Token::List(length) if length == 2 + names.len() => {}
            Token::Nil => return Some(None),
            _ => return None,
        }
        let mut next = || msgpack::bytes(&mut rest);
        let (header, extension) = (next()?.unwrap_or_default(), next()?);
        let record = self.epoch.and_then(|epoch| {
            RecordReply::on_fast_path(self.now, header, extension, epoch, secret, touch)
        });
        let Some(record) = record else { return Some(None) };
        let mut fields = Vec::with_capacity(names.len());
        for name in names {
            let Some(stored) = next()? else { continue };
            match stored_field(&record, name.clone(), packed.slice_ref(stored)) {
                Some(field) => fields.extend(field),
                None => return Some(None),
            }
        }
        Some(Some(Loaded::new(record.into_meta(), fields)))
    }
}
