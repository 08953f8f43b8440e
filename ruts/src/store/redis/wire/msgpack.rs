//! Decodes the MessagePack that scripts write with `cmsgpack`: the replies of batches.
//!
//! Used by the batches. Knows nothing about sessions.

use bytes::{Buf, Bytes};

use super::reply::Reply;

/// The head of a value.
pub(in crate::store::redis) enum Token<'a> {
    Nil,
    Number(u64),
    Bytes(&'a [u8]),
    /// A list of this length, whose items follow.
    List(usize),
}

/// Reads a token from the front. Returns `None` for a kind that no script writes, and for an
/// incomplete token.
pub(in crate::store::redis) fn next<'a>(packed: &mut &'a [u8]) -> Option<Token<'a>> {
    let kind = packed.try_get_u8().ok()?;
    let number = match kind {
        0xc0 | 0xc2 => 0,
        0x90..=0x9f => u64::from(kind & 0x0f),
        0xa0..=0xbf => u64::from(kind & 0x1f),
        0xcc | 0xd9 => packed.try_get_u8().ok()?.into(),
        0xcd | 0xda | 0xdc => packed.try_get_u16().ok()?.into(),
        0xce | 0xdb | 0xdd => packed.try_get_u32().ok()?.into(),
        0xcf => packed.try_get_u64().ok()?,
        0x00..=0x7f => kind.into(),
        _ => return None,
    };
    // Each item of a list takes at least one byte, so a longer list is malformed.
    let length = || usize::try_from(number).ok().filter(|length| *length <= packed.len());
    Some(match kind {
        0xc0 | 0xc2 => Token::Nil,
        0x90..=0x9f | 0xdc | 0xdd => Token::List(length()?),
        0xa0..=0xbf | 0xd9..=0xdb => Token::Bytes(packed.split_off(..length()?)?),
        _ => Token::Number(number),
    })
}

/// Reads bytes or nil from the front.
pub(in crate::store::redis) fn bytes<'a>(packed: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match next(packed)? {
        Token::Nil => Some(None),
        Token::Bytes(bytes) => Some(Some(bytes)),
        Token::Number(_) | Token::List(_) => None,
    }
}

/// Returns the bytes of the next value, and skips it.
pub(in crate::store::redis) fn skip<'a>(packed: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (all, mut left) = (*packed, 1);
    while left > 0 {
        left -= 1;
        if let Token::List(length) = next(packed)? {
            left = length.checked_add(left)?;
        }
    }
    all.get(..all.len() - packed.len())
}

/// Decodes an answer that is a single value.
pub(in crate::store::redis) fn decode(packed: &Bytes) -> Option<Reply> {
    let mut rest = &packed[..];
    value(packed, &mut rest, 3).filter(|_| rest.is_empty())
}

/// `depth` is the maximum nesting of lists.
fn value(packed: &Bytes, rest: &mut &[u8], depth: u8) -> Option<Reply> {
    Some(match next(rest)? {
        Token::Nil => Reply::Nil,
        Token::Number(number) => Reply::Int(number.try_into().ok()?),
        Token::Bytes(bytes) => Reply::Bytes(packed.slice_ref(bytes)),
        Token::List(length) => {
            let depth = depth.checked_sub(1)?;
            Reply::Array((0..length).map(|_| value(packed, rest, depth)).collect::<Option<_>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reply: Option<Reply>) -> String {
        match reply {
            None => "none".to_owned(),
            Some(Reply::Nil) => "-".to_owned(),
            Some(Reply::Int(number)) => number.to_string(),
            Some(Reply::Bytes(bytes)) => format!("{:?}", bytes),
            Some(Reply::Array(items)) => {
                let items: Vec<_> = items.into_iter().map(|item| text(Some(item))).collect();
                format!("[{}]", items.join(" "))
            }
        }
    }

    #[test]
    fn values_of_scripts_are_decoded() {
        let long = [&[0xd9, 40][..], &[b'x'; 40]].concat();
        let longer = [&[0xda, 1, 44][..], &[b'x'; 300]].concat();
        for (packed, decoded) in [
            (&b"\x95\x90\x91\xc2\x00\xa2ab\xc0"[..], "[[] [-] 0 b\"ab\" -]"),
            (b"\xcf\0\0\x01\x8b\xcf\xe5\x68\0", "1700000000000"),
            (b"\xcd\x01\x00", "256"),
            (b"\xdc\0\x02\x01\x02", "[1 2]"),
            (&long, &format!("b\"{}\"", "x".repeat(40))),
            (&longer, &format!("b\"{}\"", "x".repeat(300))),
        ] {
            assert_eq!(text(decode(&Bytes::copy_from_slice(packed))), decoded);
        }
    }

    #[test]
    fn a_skipped_value_is_complete() {
        let mut packed = &b"\x93\x91\xa1a\xc0\x92\x01\x02\x07"[..];
        assert_eq!(skip(&mut packed), Some(&b"\x93\x91\xa1a\xc0\x92\x01\x02"[..]));
        assert_eq!(skip(&mut packed), Some(&b"\x07"[..]));
        assert_eq!(skip(&mut packed), None);
        assert_eq!(skip(&mut &b"\x92\x01"[..]), None);
    }

    #[test]
    fn other_bytes_are_not_decoded() {
        for packed in [
            &b""[..],
            b"\xa2a",
            b"\x92\x01",
            b"\x01\x02",
            b"\xdd\xff\xff\xff\xff\x01",
            b"\xdb\xff\xff\xff\xff\x01",
            b"\x81\x01\x02",
            b"\xc3",
            b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x91\x91\x91\x91\x91\x01",
        ] {
            assert_eq!(text(decode(&Bytes::copy_from_slice(packed))), "none", "{packed:?}");
        }
    }
}
