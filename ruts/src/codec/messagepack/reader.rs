//! [`Reader`]: the tokens of a MessagePack payload.
//!
//! Used by `deserializer` and `node`. Not generic, so it is compiled only once. It does not
//! allocate, so a large length in a hostile payload cannot use up memory.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::writer::{LARGE, NEGATIVE};

/// Maximum depth of a value, the same as in the writer, `rmp-serde`.
const MAX_DEPTH: usize = 1024;

/// A scalar, or the head of a list or map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'b> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    /// A number below zero.
    Negative(i64),
    /// A number from 2^64 on.
    Large(u128),
    /// A number below -2^63.
    LargeNegative(i128),
    F32(f32),
    F64(f64),
    Text(&'b [u8]),
    Bytes(&'b [u8]),
    /// Number of elements.
    List(usize),
    /// Number of entries.
    Map(usize),
}

/// The rest of a payload.
#[derive(Debug)]
pub(super) struct Reader<'b> {
    rest: &'b [u8],
    depth: usize,
    /// Number of bytes left of a byte string that is read as a list of numbers.
    numbers: usize,
    /// Whether types such as `IpAddr` are strings, and not in their compact form.
    pub(super) is_human_readable: bool,
}

impl<'b> Reader<'b> {
    pub(super) const fn new(payload: &'b [u8]) -> Self {
        Self { rest: payload, depth: 0, numbers: 0, is_human_readable: true }
    }

    /// Returns the number of bytes that have not been read.
    pub(super) const fn rest(&self) -> usize {
        self.rest.len()
    }

    /// Returns the marker of the next token. `None` at the end of the payload, and inside a byte
    /// string that is read as a list of numbers.
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied().filter(|_| self.numbers == 0)
    }

    /// Reads the next token.
    #[inline(never)]
    pub(super) fn token(&mut self) -> Result<Token<'b>, ReadError> {
        let marker = self.number::<1>()? as u8;
        if self.numbers > 0 {
            self.numbers -= 1;
            return Ok(Token::Unsigned(marker.into()));
        }
        let low = usize::from(marker & 15);
        Ok(match marker {
            0x00..=0x7f => Token::Unsigned(marker.into()),
            0x80..=0x8f => Token::Map(low),
            0x90..=0x9f => Token::List(low),
            0xa0..=0xbf => Token::Text(self.bytes((marker & 31).into())?),
            0xc0 => Token::Nil,
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xc4 => Token::Bytes(self.sized::<1>()?),
            0xc5 => Token::Bytes(self.sized::<2>()?),
            0xc6 => Token::Bytes(self.sized::<4>()?),
            0xca => Token::F32(f32::from_bits(self.number::<4>()? as u32)),
            0xcb => Token::F64(f64::from_bits(self.number::<8>()?)),
            0xcc => Token::Unsigned(self.number::<1>()?),
            0xcd => Token::Unsigned(self.number::<2>()?),
            0xce => Token::Unsigned(self.number::<4>()?),
            0xcf => Token::Unsigned(self.number::<8>()?),
            0xd0 => signed((self.number::<1>()? as i8).into()),
            0xd1 => signed((self.number::<2>()? as i16).into()),
            0xd2 => signed((self.number::<4>()? as i32).into()),
            0xd3 => signed(self.number::<8>()? as i64),
            0xd9 => Token::Text(self.sized::<1>()?),
            0xda => Token::Text(self.sized::<2>()?),
            0xdb => Token::Text(self.sized::<4>()?),
            0xdc => Token::List(self.len::<2>()?),
            0xdd => Token::List(self.len::<4>()?),
            0xde => Token::Map(self.len::<2>()?),
            0xdf => Token::Map(self.len::<4>()?),
            0xe0.. => signed((marker as i8).into()),
            0xd8 => {
                let (kind, bytes) = (self.number::<1>()? as u8, self.wide()?);
                match (kind, i128::from_be_bytes(bytes)) {
                    (LARGE, _) => Token::Large(u128::from_be_bytes(bytes)),
                    (NEGATIVE, number @ ..0) => Token::LargeNegative(number),
                    _ => return Err(ReadError::SHAPE),
                }
            }
            // This reader supports no other extension, and MessagePack never uses 0xc1.
            0xc1 | 0xc7..=0xc9 | 0xd4..=0xd7 => return Err(ReadError::SHAPE),
        })
    }

    /// Skips a nil, and returns whether there was one.
    #[inline(never)]
    pub(super) fn nil(&mut self) -> bool {
        let is_nil = self.peek() == Some(0xc0);
        if is_nil {
            self.rest = &self.rest[1..];
        }
        is_nil
    }

    /// Reads a string. Bytes are refused.
    #[inline(never)]
    pub(super) fn text(&mut self) -> Result<&'b str, ReadError> {
        match self.token()? {
            Token::Text(text) => to_text(text),
            _ => Err(ReadError::SHAPE),
        }
    }

    /// Reads an integer. `Err` holds a negative one.
    #[inline(never)]
    pub(super) fn integer(&mut self) -> Result<Result<u64, i64>, ReadError> {
        match self.token()? {
            Token::Unsigned(number) => Ok(Ok(number)),
            Token::Negative(number) => Ok(Err(number)),
            _ => Err(ReadError::SHAPE),
        }
    }

    /// Reads a `u128`.
    #[inline(never)]
    pub(super) fn wide_unsigned(&mut self) -> Result<u128, ReadError> {
        match self.token()? {
            Token::Unsigned(number) => Ok(number.into()),
            Token::Large(number) => Ok(number),
            _ => Err(ReadError::SHAPE),
        }
    }

    /// Reads an `i128`.
    #[inline(never)]
    pub(super) fn wide_signed(&mut self) -> Result<i128, ReadError> {
        match self.token()? {
            Token::Unsigned(number) => Ok(number.into()),
            Token::Negative(number) => Ok(number.into()),
            Token::Large(number) => number.try_into().map_err(|_| ReadError::SHAPE),
            Token::LargeNegative(number) => Ok(number),
            _ => Err(ReadError::SHAPE),
        }
    }

    /// Reads a floating-point number. An integer is accepted if it is small enough to be exact.
    #[inline(never)]
    pub(super) fn double(&mut self) -> Result<f64, ReadError> {
        const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
        match self.token()? {
            Token::F64(number) => Ok(number),
            Token::F32(number) => Ok(number.into()),
            Token::Unsigned(number) if number <= EXACT => Ok(number as f64),
            Token::Negative(number) if number.unsigned_abs() <= EXACT => Ok(number as f64),
            _ => Err(ReadError::SHAPE),
        }
    }

    /// Reads a number as an `f32`, if an `f32` can hold it exactly.
    #[inline(never)]
    pub(super) fn single(&mut self) -> Result<f32, ReadError> {
        let number = self.double()?;
        let single = number as f32;
        let is_exact = f64::from(single) == number || number.is_nan();
        is_exact.then_some(single).ok_or(ReadError::SHAPE)
    }

    #[inline(never)]
    pub(super) fn boolean(&mut self) -> Result<bool, ReadError> {
        match self.token()? {
            Token::Bool(value) => Ok(value),
            _ => Err(ReadError::SHAPE),
        }
    }

    /// Reads the beginning of a list, and returns its length. A byte string is read as a list of
    /// numbers.
    #[inline(never)]
    pub(super) fn list(&mut self) -> Result<usize, ReadError> {
        let width = match self.peek() {
            Some(marker @ 0xc4..=0xc6) => marker - 0xc4,
            _ => {
                let Token::List(len) = self.token()? else { return Err(ReadError::SHAPE) };
                self.deepen()?;
                return Ok(len);
            }
        };
        self.number::<1>()?;
        self.numbers = match width {
            0 => self.len::<1>()?,
            1 => self.len::<2>()?,
            _ => self.len::<4>()?,
        };
        self.deepen()?;
        Ok(self.numbers)
    }

    /// Reads the beginning of a map, and returns the number of its entries.
    #[inline(never)]
    pub(super) fn map(&mut self) -> Result<usize, ReadError> {
        let Token::Map(len) = self.token()? else { return Err(ReadError::SHAPE) };
        self.deepen()?;
        Ok(len)
    }

    /// Reads the beginning of a variant, and returns whether the variant has a value. A variant is
    /// a name, or a map from its name to its value. A number is refused.
    #[inline(never)]
    pub(super) fn variant(&mut self) -> Result<bool, ReadError> {
        if matches!(self.peek(), Some(0xa0..=0xbf | 0xd9..=0xdb)) {
            return Ok(false);
        }
        let Token::Map(1) = self.token()? else { return Err(ReadError::SHAPE) };
        self.deepen()?;
        Ok(true)
    }

    /// Enters a value with parts. Fails if it is nested too deeply.
    pub(super) fn deepen(&mut self) -> Result<(), ReadError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(ReadError::DEPTH) } else { Ok(()) }
    }

    /// Leaves a value with parts. Fails if the type left parts unread.
    pub(super) fn end(&mut self, left: usize) -> Result<(), ReadError> {
        self.depth -= 1;
        if left == 0 { Ok(()) } else { Err(ReadError::SHAPE) }
    }

    /// Skips a value.
    #[inline(never)]
    pub(super) fn skip(&mut self) -> Result<(), ReadError> {
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            left = match self.token()? {
                Token::List(len) => left.saturating_add(len),
                Token::Map(len) => left.saturating_add(2 * len),
                _ => left,
            };
        }
        Ok(())
    }

    fn len<const N: usize>(&mut self) -> Result<usize, ReadError> {
        usize::try_from(self.number::<N>()?).map_err(|_| ReadError::END)
    }

    fn sized<const N: usize>(&mut self) -> Result<&'b [u8], ReadError> {
        let len = self.len::<N>()?;
        self.bytes(len)
    }

    fn bytes(&mut self, len: usize) -> Result<&'b [u8], ReadError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(ReadError::END)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Reads the bytes of a number of 128 bits.
    fn wide(&mut self) -> Result<[u8; 16], ReadError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(ReadError::END)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// Reads `N` bytes as a big-endian number.
    fn number<const N: usize>(&mut self) -> Result<u64, ReadError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(ReadError::END)?;
        self.rest = rest;
        Ok(bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }
}

/// Returns the token of an integer that was written in a signed format.
fn signed(number: i64) -> Token<'static> {
    u64::try_from(number).map_or(Token::Negative(number), Token::Unsigned)
}

/// Returns bytes as a string.
pub(super) fn to_text(bytes: &[u8]) -> Result<&str, ReadError> {
    std::str::from_utf8(bytes).map_err(|_| ReadError::SHAPE)
}

/// The reason why a payload cannot be read. Does not contain a part of the value, or a serde
/// message, which may quote the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadError(&'static str);

impl ReadError {
    pub(super) const END: Self = Self("it ends too early");
    pub(super) const DEPTH: Self = Self("it is nested too deeply");
    pub(super) const SHAPE: Self = Self("it does not have the shape of the type");

    pub(super) const fn reason(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<M: fmt::Display>(_: M) -> Self {
        Self::SHAPE
    }

    // The default methods format a message, which would add code for each type.

    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::SHAPE
    }

    fn invalid_value(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::SHAPE
    }

    fn invalid_length(_: usize, _: &dyn Expected) -> Self {
        Self::SHAPE
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self::SHAPE
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self::SHAPE
    }

    fn missing_field(_: &'static str) -> Self {
        Self::SHAPE
    }

    fn duplicate_field(_: &'static str) -> Self {
        Self::SHAPE
    }
}
