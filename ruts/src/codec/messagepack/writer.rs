//! [`Writer`]: a serializer that passes every value on, and writes the sign of a number of 128
//! bits.
//!
//! Used by `payload`. `rmp-serde` writes `u128::MAX` and `-1_i128` as the same 16 bytes, so the
//! bytes do not show whether the type is signed. Knows nothing about payloads.

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// Extension type of a number from 2^64 on: 16 bytes, big endian.
pub(in crate::codec) const LARGE: u8 = 1;
/// Extension type of a number below -2^63: 16 bytes, big endian, in two's complement.
pub(in crate::codec) const NEGATIVE: u8 = 2;

/// A serializer, or the parts of a value.
pub(super) struct Writer<S>(pub(super) S);

/// A part of a value, which a `Writer` serializes.
struct Part<'a, T: ?Sized>(&'a T);

impl<T: Serialize + ?Sized> Serialize for Part<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Writer(serializer))
    }
}

/// A number that does not fit into 64 bits: its extension type and its bytes.
struct Wide(u8, [u8; 16]);

impl Serialize for Wide {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut parts = serializer.serialize_tuple(2)?;
        parts.serialize_element(&(self.0 as i8))?;
        parts.serialize_element(&Bytes(self.1))?;
        parts.end()
    }
}

struct Bytes([u8; 16]);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<S: Serializer> Writer<S> {
    fn wide(self, wide: Wide) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, &wide)
    }
}

/// Methods that pass a value without parts on.
macro_rules! scalars {
    ($($method:ident($($argument:ident: $type:ty),*))+) => {
        $(fn $method(self, $($argument: $type),*) -> Result<S::Ok, S::Error> {
            self.0.$method($($argument),*)
        })+
    };
}

/// Methods that begin a value with parts.
macro_rules! parts {
    ($($method:ident($($argument:ident: $type:ty),*) $parts:ident)+) => {
        $(fn $method(self, $($argument: $type),*) -> Result<Self::$parts, S::Error> {
            self.0.$method($($argument),*).map(Writer)
        })+
    };
}

impl<S: Serializer> Serializer for Writer<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Writer<S::SerializeSeq>;
    type SerializeTuple = Writer<S::SerializeTuple>;
    type SerializeTupleStruct = Writer<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Writer<S::SerializeTupleVariant>;
    type SerializeMap = Writer<S::SerializeMap>;
    type SerializeStruct = Writer<S::SerializeStruct>;
    type SerializeStructVariant = Writer<S::SerializeStructVariant>;

    scalars! {
        serialize_bool(value: bool)
        serialize_i8(value: i8)
        serialize_i16(value: i16)
        serialize_i32(value: i32)
        serialize_i64(value: i64)
        serialize_u8(value: u8)
        serialize_u16(value: u16)
        serialize_u32(value: u32)
        serialize_u64(value: u64)
        serialize_f32(value: f32)
        serialize_f64(value: f64)
        serialize_char(value: char)
        serialize_str(value: &str)
        serialize_bytes(value: &[u8])
        serialize_none()
        serialize_unit()
        serialize_unit_struct(name: &'static str)
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str)
    }

    parts! {
        serialize_seq(len: Option<usize>) SerializeSeq
        serialize_tuple(len: usize) SerializeTuple
        serialize_tuple_struct(name: &'static str, len: usize) SerializeTupleStruct
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            SerializeTupleVariant
        serialize_map(len: Option<usize>) SerializeMap
        serialize_struct(name: &'static str, len: usize) SerializeStruct
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            SerializeStructVariant
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }

    fn serialize_u128(self, value: u128) -> Result<S::Ok, S::Error> {
        match u64::try_from(value) {
            Ok(small) => self.0.serialize_u64(small),
            Err(_) => self.wide(Wide(LARGE, value.to_be_bytes())),
        }
    }

    fn serialize_i128(self, value: i128) -> Result<S::Ok, S::Error> {
        match (u128::try_from(value), i64::try_from(value)) {
            (Ok(value), _) => self.serialize_u128(value),
            (_, Ok(small)) => self.0.serialize_i64(small),
            _ => self.wide(Wide(NEGATIVE, value.to_be_bytes())),
        }
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_some(&Part(value))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_struct(name, &Part(value))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_variant(name, index, variant, &Part(value))
    }
}

/// Implements a trait for values with parts. Takes the trait and its method for a part, whose key
/// is a constant or absent.
macro_rules! with_parts {
    ($($trait:ident $method:ident($($key:ident)?))+) => {
        $(impl<S: $trait> $trait for Writer<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($key: &'static str,)?
                value: &T,
            ) -> Result<(), S::Error> {
                self.0.$method($($key,)? &Part(value))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        })+
    };
}

with_parts! {
    SerializeSeq serialize_element()
    SerializeTuple serialize_element()
    SerializeTupleStruct serialize_field()
    SerializeTupleVariant serialize_field()
    SerializeStruct serialize_field(key)
    SerializeStructVariant serialize_field(key)
}

impl<S: SerializeMap> SerializeMap for Writer<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.0.serialize_key(&Part(key))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.0.serialize_value(&Part(value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}
