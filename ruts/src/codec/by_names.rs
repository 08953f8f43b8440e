//! [`transcode`]: converts a bincode payload to MessagePack, by the shape of the type that wrote
//! the payload.
//!
//! Called by a field spec that has a lock (`with_lock`). bincode identifies fields by position, so
//! only the type that wrote a payload can read it. The lock records the shapes of former types.
//! MessagePack identifies fields by name, so the current type can read the result. The code is not
//! generic, so it is compiled only once. Knows shapes and headers, and nothing about stores.

use bytes::Bytes;

use super::{
    format::Codec,
    header::{Header, MAX_VALUE},
    messagepack::{LARGE, NEGATIVE, write_head},
    shape::{Part, Shape, parse, parse_name},
};

/// Maximum depth of a value.
const MAX_DEPTH: usize = 128;

/// Converts a stored bincode value to MessagePack. `lock` is the text of a lock, and `name` the
/// stored name of the field.
///
/// `None` if the lock does not have the type that wrote the value, or if the value does not have
/// the shape of that type.
pub(crate) fn transcode(lock: &str, name: &str, stored: &[u8]) -> Option<Bytes> {
    let (header, payload) = Header::split(stored).ok()?;
    if header.codec != Codec::Bincode || !header.fingerprint.has_type() {
        return None;
    }
    let shape = lock.lines().find_map(|line| locked_shape(line, name, &header))?;
    let out = Header { codec: Codec::MessagePack, ..header }.to_compact_bytes().to_vec();
    let mut transcoder = Transcoder { rest: payload, out, outer: Vec::new() };
    transcoder.value(&shape, 0)?;
    (transcoder.rest.is_empty() && transcoder.out.len() <= MAX_VALUE).then(|| transcoder.out.into())
}

/// Returns the shape in a line of the lock, if the line has this field name, and the version and
/// fingerprint of `header`.
fn locked_shape(line: &str, name: &str, header: &Header) -> Option<Shape> {
    let (_, rest) = parse_name(line).filter(|(of, _)| of == name)?;
    let mut words = rest.strip_prefix(' ')?.splitn(4, ' ');
    let mut next = || words.next();
    let is_same = next()?.parse() == Ok(header.version)
        && next()? == "bincode"
        && u32::from_str_radix(next()?, 16) == Ok(header.fingerprint.bits());
    let (shape, _) = parse(next().filter(|_| is_same)?)?;
    Some(shape)
}

struct Transcoder<'b, 's> {
    /// The rest of the payload.
    rest: &'b [u8],
    out: Vec<u8>,
    /// Structs and enums that enclose the current value.
    outer: Vec<&'s Shape>,
}

impl<'s> Transcoder<'_, 's> {
    fn bytes(&mut self, len: usize) -> Option<&[u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    /// Reads a number of variable length.
    fn number(&mut self) -> Option<u128> {
        Some(match self.array::<1>()?[0] {
            251 => u16::from_le_bytes(self.array()?).into(),
            252 => u32::from_le_bytes(self.array()?).into(),
            253 => u64::from_le_bytes(self.array()?).into(),
            254 => u128::from_le_bytes(self.array()?),
            255 => return None,
            small => small.into(),
        })
    }

    /// Reads a signed number in zigzag encoding.
    fn signed(&mut self) -> Option<i128> {
        let number = self.number()?;
        let half = (number >> 1) as i128;
        Some(if number & 1 == 0 { half } else { !half })
    }

    /// Reads a length. The limit bounds lists whose elements take no bytes, such as `()`.
    fn len(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|len| *len <= MAX_VALUE)
    }

    fn text(&mut self, len: usize) -> Option<()> {
        let (text, rest) = self.rest.split_at_checked(len)?;
        std::str::from_utf8(text).ok()?;
        self.rest = rest;
        write_bytes(&mut self.out, text, [0xa0, 0xd9]);
        Some(())
    }

    /// Reads a bincode value of this shape, and writes it as MessagePack.
    fn value(&mut self, shape: &'s Shape, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH || self.out.len() > MAX_VALUE {
            return None;
        }
        match shape {
            Shape::Leaf(word) => self.leaf(word)?,
            Shape::TwoForms(inner) => self.value(inner, depth + 1)?,
            Shape::Option(inner) => match self.array()? {
                [0] => self.out.push(0xc0),
                [1] => {
                    let at = self.out.len();
                    self.value(inner, depth + 1)?;
                    // MessagePack writes this value as nil, so a reader would read `None`.
                    if self.out.get(at) == Some(&0xc0) {
                        return None;
                    }
                }
                _ => return None,
            },
            Shape::Seq(element) => {
                let len = self.len()?;
                write_head(&mut self.out, len, 0x90, 0xdc);
                (0..len).try_for_each(|_| self.value(element, depth + 1))?;
            }
            Shape::Map(entry) => {
                let len = self.len()?;
                write_head(&mut self.out, len, 0x80, 0xde);
                (0..len).try_for_each(|_| {
                    self.value(&entry.0, depth + 1)?;
                    self.value(&entry.1, depth + 1)
                })?;
            }
            Shape::Tuple(parts) => {
                write_head(&mut self.out, parts.len(), 0x90, 0xdc);
                parts.iter().try_for_each(|part| self.value(part, depth + 1))?;
            }
            Shape::Struct { fields, .. } => {
                write_head(&mut self.out, fields.len(), 0x80, 0xde);
                self.outer.push(shape);
                fields.iter().try_for_each(|field| {
                    write_bytes(&mut self.out, field.name.as_bytes(), [0xa0, 0xd9]);
                    self.value(&field.shape, depth + 1)
                })?;
                self.outer.pop();
            }
            Shape::Enum { variants, .. } => {
                let at = usize::try_from(self.number()?).ok()?;
                let Part { name, shape: inner, .. } = variants.get(at)?;
                if *inner == Shape::Leaf("unit") {
                    write_bytes(&mut self.out, name.as_bytes(), [0xa0, 0xd9]);
                } else {
                    write_head(&mut self.out, 1, 0x80, 0xde);
                    write_bytes(&mut self.out, name.as_bytes(), [0xa0, 0xd9]);
                    self.outer.push(shape);
                    self.value(inner, depth + 1)?;
                    self.outer.pop();
                }
            }
            Shape::Recursion(levels) => {
                let at = self.outer.len().checked_sub(levels + 1)?;
                let inner = self.outer.split_off(at);
                self.value(inner.first()?, depth + 1)?;
                self.outer.extend(inner);
            }
        }
        Some(())
    }

    /// Reads a bincode value without parts, and writes it as MessagePack.
    fn leaf(&mut self, word: &str) -> Option<()> {
        match word {
            "unit" => self.out.push(0xc0),
            "bool" => match self.array()? {
                [0] => self.out.push(0xc2),
                [1] => self.out.push(0xc3),
                _ => return None,
            },
            "u8" => {
                let [number] = self.array()?;
                write_number(&mut self.out, number.into());
            }
            "i8" => {
                let [number] = self.array()?;
                write_number(&mut self.out, i8::from_le_bytes([number]).into());
            }
            "u16" | "u32" | "u64" | "u128" => {
                let number = self.number()?;
                match i128::try_from(number) {
                    Ok(number) => write_number(&mut self.out, number),
                    Err(_) => write_wide(&mut self.out, LARGE, number.to_be_bytes()),
                }
            }
            "i16" | "i32" | "i64" | "i128" => {
                let number = self.signed()?;
                write_number(&mut self.out, number);
            }
            "f32" => {
                let number = f32::from_le_bytes(self.array()?);
                self.out.push(0xca);
                self.out.extend(number.to_be_bytes());
            }
            "f64" => {
                let number = f64::from_le_bytes(self.array()?);
                self.out.push(0xcb);
                self.out.extend(number.to_be_bytes());
            }
            "char" => {
                let len = match self.rest.first()? {
                    0..0xc0 => 1,
                    0xc0..0xe0 => 2,
                    0xe0..0xf0 => 3,
                    _ => 4,
                };
                self.text(len)?;
            }
            "str" => {
                let len = self.len()?;
                self.text(len)?;
            }
            "bytes" => {
                let len = self.len()?;
                let (bytes, rest) = self.rest.split_at_checked(len)?;
                self.rest = rest;
                write_bytes(&mut self.out, bytes, [0, 0xc4]);
            }
            // bincode cannot read `any`, which needs a self-describing format. `unknown` has no
            // shape.
            _ => return None,
        }
        Some(())
    }
}

/// Writes an integer in the fewest bytes, as the codec does.
fn write_number(out: &mut Vec<u8>, number: i128) {
    let wide = |out: &mut Vec<u8>, marker: u8, bytes: usize| {
        out.push(marker);
        out.extend_from_slice(&number.to_be_bytes()[16 - bytes..]);
    };
    match number {
        -32..128 => out.push(number as u8),
        -0x80..-32 => wide(out, 0xd0, 1),
        -0x8000..-0x80 => wide(out, 0xd1, 2),
        -0x8000_0000..-0x8000 => wide(out, 0xd2, 4),
        -0x8000_0000_0000_0000..-0x8000_0000 => wide(out, 0xd3, 8),
        ..-0x8000_0000_0000_0000 => write_wide(out, NEGATIVE, number.to_be_bytes()),
        128..0x100 => wide(out, 0xcc, 1),
        0x100..0x1_0000 => wide(out, 0xcd, 2),
        0x1_0000..0x1_0000_0000 => wide(out, 0xce, 4),
        0x1_0000_0000..0x1_0000_0000_0000_0000 => wide(out, 0xcf, 8),
        0x1_0000_0000_0000_0000.. => write_wide(out, LARGE, number.to_be_bytes()),
    }
}

/// Writes an integer of more than 64 bits as an extension of 16 bytes.
fn write_wide(out: &mut Vec<u8>, kind: u8, bytes: [u8; 16]) {
    out.extend_from_slice(&[0xd8, kind]);
    out.extend_from_slice(&bytes);
}

/// Writes a string or bytes. A length below 32 is part of the marker `short`, unless `short` is
/// zero. Any other length follows the marker `long`, `long + 1` or `long + 2`.
fn write_bytes(out: &mut Vec<u8>, bytes: &[u8], [short, long]: [u8; 2]) {
    match bytes.len() {
        len @ 0..32 if short != 0 => out.push(short | len as u8),
        len @ 0..=0xff => out.extend([long, len as u8]),
        len @ 0..=0xffff => {
            out.push(long + 1);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(long + 2);
            out.extend((len as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const LOCK: &str = "\
# a comment

[Shop]
cart 1 bincode 00000070 {a: u8, b: option<[<Cash / Card (i64, char)>]>, c: map<str, ^0>}
  10010001
cart 2 bincode 00000080 str
";

    fn stored(version: u8, fingerprint: u8, payload: &[u8]) -> Vec<u8> {
        [&[0x10, 1, 0, version, 0, 0, 0, fingerprint][..], payload].concat()
    }

    #[test]
    fn a_value_gets_the_names_of_its_writer() {
        let payload = [
            &[7, 1, 2, 0, 1, 251, 0xcf, 0x07][..],
            "\u{20ac}".as_bytes(),
            &[1, 1, b'x', 255 - 6, 0, 0],
        ];
        let value = transcode(LOCK, "cart", &stored(1, 0x70, &payload.concat())).unwrap();
        let expected = [
            &[0x12, 2, 0, 1, 0, 0, 0, 0x70, 0x83, 0xa1, b'a', 7, 0xa1, b'b', 0x92, 0xa4][..],
            b"Cash",
            &[0x81, 0xa4],
            b"Card",
            &[0x92, 0xd1, 0xfc, 0x18, 0xa3],
            "\u{20ac}".as_bytes(),
            &[0xa1, b'c', 0x81, 0xa1, b'x', 0x83, 0xa1, b'a', 0xcc, 249, 0xa1, b'b', 0xc0],
            &[0xa1, b'c', 0x80],
        ];
        assert_eq!(value, expected.concat());
    }

    #[test]
    fn only_the_writing_type_counts() {
        let text = stored(2, 0x80, &[1, b'x']);
        assert!(transcode(LOCK, "cart", &text).is_some());
        assert_eq!(transcode(LOCK, "other", &text), None);
        assert_eq!(transcode(LOCK, "cart", &stored(2, 0x70, &[1, b'x'])), None);
        assert_eq!(transcode(LOCK, "cart", &stored(2, 0, &[1, b'x'])), None);
        assert_eq!(transcode("", "cart", &text), None);
        for payload in [&[1][..], &[2, b'x'], &[1, b'x', 0], &[1, 0xff], &[253], &[]] {
            assert_eq!(transcode(LOCK, "cart", &stored(2, 0x80, payload)), None, "{payload:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_payloads_never_panic(payload in vec(any::<u8>(), 0..200)) {
            let _ = transcode(LOCK, "cart", &stored(1, 0x70, &payload));
            let _ = transcode(LOCK, "cart", &stored(2, 0x80, &payload));
        }
    }
}
