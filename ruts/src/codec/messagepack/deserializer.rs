//! [`Value`]: the deserializer of one value.
//!
//! Called by `payload`. It decodes only the kind of value that the type requests, and fails if the
//! payload has a different kind. So each type compiles only the decoding paths that it uses.

use serde::de::{
    self, Deserialize, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
    value::StrDeserializer,
};

use super::reader::{ReadError, Reader, Token, to_text};

type Result<T> = std::result::Result<T, ReadError>;

/// The next value of a payload.
pub(super) struct Value<'a, 'b>(pub(super) &'a mut Reader<'b>);

impl<'a, 'b> Value<'a, 'b> {
    fn parts<T>(
        self,
        left: usize,
        read: impl FnOnce(&mut Parts<'a, 'b>) -> Result<T>,
    ) -> Result<T> {
        let mut parts = Parts { reader: self.0, left };
        let value = read(&mut parts)?;
        parts.reader.end(parts.left)?;
        Ok(value)
    }
}

/// Methods for whole numbers of up to 64 bits.
macro_rules! integers {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            match self.0.integer()? {
                Ok(number) => visitor.visit_u64(number),
                Err(number) => visitor.visit_i64(number),
            }
        })+
    };
}

/// Methods that delegate to a different method.
macro_rules! same {
    ($($method:ident($($argument:ty),*) as $other:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, $(_: $argument,)* visitor: V) -> Result<V::Value> {
            self.$other(visitor)
        })+
    };
}

impl<'de> de::Deserializer<'de> for Value<'_, '_> {
    type Error = ReadError;

    integers! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
    }

    same! {
        deserialize_char() as deserialize_str
        deserialize_string() as deserialize_str
        deserialize_byte_buf() as deserialize_bytes
        deserialize_unit_struct(&'static str) as deserialize_unit
        deserialize_tuple(usize) as deserialize_seq
        deserialize_tuple_struct(&'static str, usize) as deserialize_seq
        deserialize_struct(&'static str, &'static [&'static str]) as deserialize_map
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if matches!(self.0.peek(), Some(0x90..=0x9f | 0xdc | 0xdd)) {
            return self.deserialize_seq(visitor);
        }
        if matches!(self.0.peek(), Some(0x80..=0x8f | 0xde | 0xdf)) {
            return self.deserialize_map(visitor);
        }
        match self.0.token()? {
            Token::Nil => visitor.visit_unit(),
            Token::Bool(value) => visitor.visit_bool(value),
            Token::Unsigned(number) => visitor.visit_u64(number),
            Token::Negative(number) => visitor.visit_i64(number),
            Token::Large(number) => visitor.visit_u128(number),
            Token::LargeNegative(number) => visitor.visit_i128(number),
            Token::F32(number) => visitor.visit_f32(number),
            Token::F64(number) => visitor.visit_f64(number),
            Token::Text(text) => visitor.visit_str(to_text(text)?),
            Token::Bytes(bytes) => visitor.visit_bytes(bytes),
            Token::List(_) | Token::Map(_) => Err(ReadError::SHAPE),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_bool(self.0.boolean()?)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_u128(self.0.wide_unsigned()?)
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_i128(self.0.wide_signed()?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_f32(self.0.single()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_f64(self.0.double()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_str(self.0.text()?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if matches!(self.0.peek(), Some(0x90..=0x9f | 0xdc | 0xdd)) {
            return self.deserialize_seq(visitor);
        }
        // Text is refused. The bytes of a text are not the bytes of a UUID that was written as this
        // text.
        match self.0.token()? {
            Token::Bytes(bytes) => visitor.visit_bytes(bytes),
            _ => Err(ReadError::SHAPE),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.0.nil() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    /// `rmp-serde` writes `()` as nil, and a unit struct as an empty list. Both types can read both
    /// forms.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0.token()? {
            Token::List(0) | Token::Nil => visitor.visit_unit(),
            _ => Err(ReadError::SHAPE),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let left = self.0.list()?;
        self.parts(left, |parts| visitor.visit_seq(parts))
    }

    /// Also reads structs. A list is refused: reading fields by position could swap them.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let left = self.0.map()?;
        self.parts(left, |parts| visitor.visit_map(parts))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let has_value = self.0.variant()?;
        let Self(reader) = self;
        let value = visitor.visit_enum(Variant { reader, has_value })?;
        if has_value {
            reader.end(0)?;
        }
        Ok(value)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_str(self.0.text()?)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.0.skip()?;
        visitor.visit_unit()
    }
}

/// The elements of a list, or the entries of a map.
struct Parts<'a, 'b> {
    reader: &'a mut Reader<'b>,
    left: usize,
}

impl Parts<'_, '_> {
    /// Counts a part as read. `None` after the last part.
    fn next(&mut self) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        Some(())
    }

    /// Returns the number of parts left, but no more than the number of bytes left, because each
    /// part takes at least one byte.
    fn expected(&self) -> Option<usize> {
        Some(self.left.min(self.reader.rest()))
    }
}

impl<'de> SeqAccess<'de> for &mut Parts<'_, '_> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        match self.next() {
            Some(()) => seed.deserialize(Value(self.reader)).map(Some),
            None => Ok(None),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        self.expected()
    }
}

impl<'de> MapAccess<'de> for &mut Parts<'_, '_> {
    type Error = ReadError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        match self.next() {
            Some(()) => seed.deserialize(Value(self.reader)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        seed.deserialize(Value(self.reader))
    }

    fn size_hint(&self) -> Option<usize> {
        self.expected()
    }
}

/// Nil, which is read in place of a missing value: the variant was written without a value, but the
/// type that reads it expects one.
const NO_VALUE: &[u8] = &[0xc0];

/// A variant of an enum: its name, and perhaps its value.
struct Variant<'a, 'b> {
    reader: &'a mut Reader<'b>,
    has_value: bool,
}

impl Variant<'_, '_> {
    fn value<T>(self, read: impl FnOnce(Value<'_, '_>) -> Result<T>) -> Result<T> {
        match self.has_value {
            true => read(Value(self.reader)),
            false => read(Value(&mut Reader::new(NO_VALUE))),
        }
    }
}

impl<'de> EnumAccess<'de> for Variant<'_, '_> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self)> {
        let name = StrDeserializer::<ReadError>::new(self.reader.text()?);
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, '_> {
    type Error = ReadError;

    /// Accepts a variant without a value, or with the value `()`.
    fn unit_variant(self) -> Result<()> {
        self.value(|value| <()>::deserialize(value))
    }

    /// Accepts a variant without a value if the type of the value accepts `()`, as an `Option`
    /// does.
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value> {
        self.value(|value| seed.deserialize(value))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        self.value(|value| de::Deserializer::deserialize_seq(value, visitor))
    }

    /// Accepts a variant without a value if no field is required.
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.has_value {
            true => de::Deserializer::deserialize_map(Value(self.reader), visitor),
            false => visitor.visit_map(&mut Parts { reader: self.reader, left: 0 }),
        }
    }
}
