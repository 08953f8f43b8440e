//! [`Node`]: a payload as a tree, for code that edits payloads without their types.
//!
//! Used by `merging` and by the lock of `testing`. Knows nothing about headers or field names.

use super::reader::{ReadError, Reader, Token};

/// Maximum depth of a tree, the same as for a value that is read.
const MAX_DEPTH: usize = 1024;

/// A MessagePack value. Keys and leaves are kept as encoded bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Node<'b> {
    Map(Vec<(&'b [u8], Node<'b>)>),
    List(Vec<Node<'b>>),
    Leaf(&'b [u8]),
}

impl<'b> Node<'b> {
    /// Parses a whole payload. `None` if the payload is malformed or too deep, or if bytes follow
    /// the value.
    pub(crate) fn parse(payload: &'b [u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        let node = Self::read(payload, &mut reader, 0).ok()?;
        (reader.rest() == 0).then_some(node)
    }

    fn read(payload: &'b [u8], reader: &mut Reader<'b>, depth: usize) -> Result<Self, ReadError> {
        if depth > MAX_DEPTH {
            return Err(ReadError::DEPTH);
        }
        let begin = payload.len() - reader.rest();
        Ok(match reader.token()? {
            Token::Map(len) => {
                let mut entries = Vec::with_capacity(len.min(reader.rest()));
                for _ in 0..len {
                    let key = payload.len() - reader.rest();
                    reader.skip()?;
                    let key = &payload[key..payload.len() - reader.rest()];
                    entries.push((key, Self::read(payload, reader, depth + 1)?));
                }
                Self::Map(entries)
            }
            Token::List(len) => {
                let mut elements = Vec::with_capacity(len.min(reader.rest()));
                for _ in 0..len {
                    elements.push(Self::read(payload, reader, depth + 1)?);
                }
                Self::List(elements)
            }
            _ => Self::Leaf(&payload[begin..payload.len() - reader.rest()]),
        })
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Map(entries) => {
                write_head(out, entries.len(), 0x80, 0xde);
                for (key, value) in entries {
                    out.extend_from_slice(key);
                    value.write(out);
                }
            }
            Self::List(elements) => {
                write_head(out, elements.len(), 0x90, 0xdc);
                elements.iter().for_each(|element| element.write(out));
            }
            Self::Leaf(bytes) => out.extend_from_slice(bytes),
        }
    }
}

/// Returns the text of an encoded string. `None` if the value is not a string.
pub(crate) fn text_of(encoded: &[u8]) -> Option<&str> {
    // The text comes after a marker of one to five bytes.
    let text = match encoded {
        [0xa0..=0xbf, text @ ..]
        | [0xd9, _, text @ ..]
        | [0xda, _, _, text @ ..]
        | [0xdb, _, _, _, _, text @ ..] => text,
        _ => return None,
    };
    std::str::from_utf8(text).ok()
}

/// Writes the length of a map or a list: as part of the marker `short`, or after the marker `long`
/// or `long + 1`.
pub(in crate::codec) fn write_head(out: &mut Vec<u8>, len: usize, short: u8, long: u8) {
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..16), _) => out.push(short | len),
        (_, Ok(len)) => {
            out.push(long);
            out.extend_from_slice(&len.to_be_bytes());
        }
        // A value takes at most 16 MiB, so its length fits into a `u32`.
        _ => {
            out.push(long + 1);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}
