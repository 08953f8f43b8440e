//! MessagePack, as far as `cmsgpack` of a script writes it.

use bytes::{Buf, Bytes};

use super::client::Reply;

/// Takes a value off the front. `None` if there is none of those that scripts answer with, or not all of it.
pub(super) fn read(packed: &mut Bytes) -> Option<Reply> {
    value(packed, 3)
}

/// `depth` is how many lists may be inside each other.
fn value(packed: &mut Bytes, depth: u8) -> Option<Reply> {
    let kind = packed.try_get_u8().ok()?;
    let length = match kind {
        0xc0 | 0xc2 => 0,
        0x90..=0x9f => usize::from(kind & 0x0f),
        0xa0..=0xbf => usize::from(kind & 0x1f),
        0xcc | 0xd9 => packed.try_get_u8().ok()?.into(),
        0xcd | 0xda | 0xdc => packed.try_get_u16().ok()?.into(),
        0xce | 0xdb | 0xdd => packed.try_get_u32().ok()?.try_into().ok()?,
        0xcf => packed.try_get_u64().ok()?.try_into().ok()?,
        0x00..=0x7f => kind.into(),
        _ => return None,
    };
    Some(match kind {
        0xc0 | 0xc2 => Reply::Nil,
        0x00..=0x7f | 0xcc..=0xcf => Reply::Int(length.try_into().ok()?),
        0xa0..=0xbf | 0xd9..=0xdb if length <= packed.len() => {
            Reply::Bytes(packed.split_to(length))
        }
        // Each takes a byte at least.
        0x90..=0x9f | 0xdc | 0xdd if depth > 0 && length <= packed.len() => {
            let items = (0..length).map(|_| value(packed, depth - 1));
            Reply::Array(items.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}
