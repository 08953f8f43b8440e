//! [`trace`]: finds the structure of a type with a deserializer that records the requests of the
//! type.
//!
//! Called by `cache` and by the lock of `testing`. It has no input: `passes` chooses the values
//! that it returns. It visits a struct by position, as bincode does, or by name after a part of the
//! struct was rejected. Knows nothing about codecs.

use std::{
    any::type_name,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, Expected, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
    value::{StrDeserializer, U32Deserializer},
};

#[cfg(feature = "testing")]
use super::structure::Shape;
use super::{
    passes::{Passes, Variation},
    tree::{Kind, Leaf, NodeId, Tree},
    walk::Walk,
};
use crate::codec::fingerprint::Fingerprint;

/// Maximum number of passes, which is more than a type needs. It ends the trace of a type whose
/// requests differ in every pass.
const MAX_PASSES: usize = 10_000;

/// Number of further passes with other numbers and strings.
const OTHERS: u8 = 3;

/// Returns the fingerprint of a type. Takes a few microseconds.
pub(crate) fn trace<T: DeserializeOwned>() -> Fingerprint {
    Walk::new(&trace_tree::<T>()).fingerprint()
}

/// Returns the structure of a type.
pub(crate) fn trace_tree<T: DeserializeOwned>() -> Tree {
    let mut passes = Passes::new();
    let accepts = &mut |passes: &mut Passes| T::deserialize(Tracer::of(passes)).is_ok();
    request_all(&mut passes, accepts);
    request_others(&mut passes, accepts);
    passes.into_tree()
}

/// Makes passes over a type until each of its parts was requested. `accepts` makes a pass, and
/// returns whether the type accepts its values.
#[inline(never)]
fn request_all(passes: &mut Passes, accepts: &mut dyn FnMut(&mut Passes) -> bool) {
    for _ in 0..MAX_PASSES {
        let is_accepted = catch(|| accepts(passes));
        if passes.end_pass(is_accepted) {
            break;
        }
    }
}

/// Makes passes with other values, because the kind of a part may depend on the value of another
/// part.
#[inline(never)]
fn request_others(passes: &mut Passes, accepts: &mut dyn FnMut(&mut Passes) -> bool) {
    for later in 1..=OTHERS {
        passes.vary(Variation::Other(later));
        catch(|| accepts(passes));
    }
    passes.vary(Variation::None);
}

/// A conversion of the application may panic on a value that it would never write.
fn catch(pass: impl FnOnce() -> bool) -> bool {
    catch_unwind(AssertUnwindSafe(pass)).unwrap_or(false)
}

/// Returns the structure of a type, and sample values of it: one for each enum variant, and one for
/// each [`Variation`]. A type whose valid values cannot be guessed gets no samples.
#[cfg(feature = "testing")]
pub(crate) fn trace_values<T: DeserializeOwned>() -> (Shape, Vec<T>) {
    let (mut passes, mut values) = (Passes::new(), Vec::new());
    let make = |passes: &mut Passes| T::deserialize(Tracer::of(passes)).ok();
    request_all(&mut passes, &mut |passes| {
        let value = make(passes);
        let is_accepted = value.is_some();
        values.extend(value);
        is_accepted
    });
    request_others(&mut passes, &mut |passes| make(passes).is_some());
    let shape = Walk::new(passes.tree()).shape();
    for variation in [Variation::Absent, Variation::Other(1), Variation::Smallest] {
        passes.vary(variation);
        catch(|| {
            values.extend(make(&mut passes));
            true
        });
    }
    (shape, values)
}

/// The error of a rejected value. Does not contain a message, because a message would add code for
/// every type.
#[derive(Debug)]
struct Rejected;

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rejected")
    }
}

impl std::error::Error for Rejected {}

impl de::Error for Rejected {
    fn custom<M: fmt::Display>(_: M) -> Self {
        Self
    }

    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self
    }

    fn invalid_value(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self
    }

    fn invalid_length(_: usize, _: &dyn Expected) -> Self {
        Self
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self
    }

    fn missing_field(_: &'static str) -> Self {
        Self
    }

    fn duplicate_field(_: &'static str) -> Self {
        Self
    }
}

/// A deserializer of one node.
struct Tracer<'a> {
    passes: &'a mut Passes,
    node: NodeId,
}

impl<'a> Tracer<'a> {
    /// Returns the deserializer of the whole type.
    fn of(passes: &'a mut Passes) -> Self {
        Self { passes, node: Tree::ROOT }
    }

    /// Returns the deserializer of the only part.
    fn part(self) -> Tracer<'a> {
        let node = self.passes.child(self.node, 0);
        Tracer { passes: self.passes, node }
    }

    /// Returns the deserializers of `len` parts, one after the other.
    fn parts(self, len: usize) -> Parts<'a> {
        Parts { passes: self.passes, node: self.node, next: 0, len }
    }
}

/// Implements the `deserialize_*` methods for numbers. Takes the method, the visitor method and the
/// number type.
macro_rules! numbers {
    ($($method:ident $visit:ident $number:ident),+ $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejected> {
            visitor.$visit(self.passes.number(self.node, stringify!($number)) as $number)
        })+
    };
}

impl<'de> de::Deserializer<'de> for Tracer<'_> {
    type Error = Rejected;

    numbers! {
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64,
    }

    /// The compact form shows more of a type than a string does.
    fn is_human_readable(&self) -> bool {
        self.passes.note_forms(self.node);
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejected> {
        match self.passes.self_describing(self.node) {
            0 => visitor.visit_unit(),
            1 => visitor.visit_str(""),
            2 => visitor.visit_u64(1),
            _ => visitor.visit_bool(false),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejected> {
        visitor.visit_bool(self.passes.leaf(self.node, Leaf::Bool) % 2 == 1)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejected> {
        self.passes.leaf(self.node, Leaf::Char);
        visitor.visit_char('a')
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejected> {
        visitor.visit_str(self.passes.text(self.node))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejected> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejected> {
        visitor.visit_bytes(self.passes.bytes(self.node))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejected> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejected> {
        match self.passes.fill(self.node, Kind::Option, type_name::<V::Value>()) {
            true => visitor.visit_some(self.part()),
            false => visitor.visit_none(),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejected> {
        self.passes.leaf(self.node, Leaf::Unit);
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Rejected> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Rejected> {
        self.passes.wrap(self.node, Kind::Newtype);
        visitor.visit_newtype_struct(self.part())
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejected> {
        let len = usize::from(self.passes.fill(self.node, Kind::Seq, type_name::<V::Value>()));
        visitor.visit_seq(self.parts(len))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Rejected> {
        self.passes.tuple(self.node, len);
        visitor.visit_seq(self.parts(len))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Rejected> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejected> {
        let len = usize::from(self.passes.fill(self.node, Kind::Map, type_name::<V::Value>()));
        visitor.visit_map(self.parts(len))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Rejected> {
        let Self { passes, node: outer } = self;
        let node =
            passes.enter(outer, Kind::Struct, type_name::<V::Value>(), fields).ok_or(Rejected)?;
        let value = match passes.is_by_name(node) {
            true => visitor.visit_map(Named { passes, node, next: 0, value: node }),
            false => visitor.visit_seq(Tracer { passes, node }.parts(fields.len())),
        };
        passes.leave(outer, node, value.is_ok());
        value
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Rejected> {
        let Self { passes, node: outer } = self;
        let node =
            passes.enter(outer, Kind::Enum, type_name::<V::Value>(), variants).ok_or(Rejected)?;
        let (number, variant) = passes.variant(node, variants.len());
        let value =
            visitor.visit_enum(Variant { number, tracer: Tracer { passes, node: variant } });
        passes.leave(outer, node, value.is_ok());
        if value.is_ok() {
            passes.accept(variant);
        }
        value
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejected> {
        match self.passes.tag(self.node) {
            Some(variant) => visitor.visit_u64(variant.into()),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Rejected> {
        visitor.visit_unit()
    }
}

/// The parts of a sequence, a tuple, a struct or a map. All entries of a map share two nodes, one
/// for the keys and one for the values.
struct Parts<'a> {
    passes: &'a mut Passes,
    node: NodeId,
    next: usize,
    len: usize,
}

impl Parts<'_> {
    /// Moves on to the next part. Returns its number.
    #[inline(never)]
    fn advance(&mut self) -> Option<usize> {
        let at = self.next;
        if at == self.len {
            return None;
        }
        self.next += 1;
        Some(at)
    }

    #[inline(never)]
    fn tracer(&mut self, at: usize) -> Tracer<'_> {
        let node = self.passes.child(self.node, at);
        Tracer { passes: self.passes, node }
    }

    /// Moves on to the next part. Returns its deserializer.
    #[inline(never)]
    fn next_part(&mut self) -> Option<Tracer<'_>> {
        self.advance().map(|at| self.tracer(at))
    }
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = Rejected;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Rejected> {
        match self.next_part() {
            Some(part) => seed.deserialize(part).map(Some),
            None => Ok(None),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.len - self.next)
    }
}

impl<'de> MapAccess<'de> for Parts<'_> {
    type Error = Rejected;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Rejected> {
        match self.advance() {
            Some(_) => seed.deserialize(self.tracer(0)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Rejected> {
        seed.deserialize(self.tracer(1))
    }
}

/// The parts of a struct, by name.
struct Named<'a> {
    passes: &'a mut Passes,
    node: NodeId,
    next: usize,
    /// The part whose name was returned last.
    value: NodeId,
}

impl<'de> MapAccess<'de> for Named<'_> {
    type Error = Rejected;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Rejected> {
        let Some((at, name, value)) = self.passes.named_part(self.node, self.next) else {
            return Ok(None);
        };
        (self.next, self.value) = (at + 1, value);
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Rejected> {
        self.passes.accept_name();
        seed.deserialize(Tracer { passes: self.passes, node: self.value })
    }
}

/// A variant of an enum.
struct Variant<'a> {
    number: u32,
    tracer: Tracer<'a>,
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a> {
    type Error = Rejected;
    type Variant = Tracer<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Tracer<'a>), Rejected> {
        Ok((seed.deserialize(U32Deserializer::new(self.number))?, self.tracer))
    }
}

impl<'de> VariantAccess<'de> for Tracer<'_> {
    type Error = Rejected;

    fn unit_variant(self) -> Result<(), Rejected> {
        self.passes.leaf(self.node, Leaf::Unit);
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Rejected> {
        self.passes.wrap(self.node, Kind::Newtype);
        seed.deserialize(self.part())
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Rejected> {
        de::Deserializer::deserialize_tuple(self, len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Rejected> {
        let Self { passes, node: outer } = self;
        let node = passes.enter(outer, Kind::Struct, "", fields).ok_or(Rejected)?;
        let value = match passes.is_by_name(node) {
            true => visitor.visit_map(Named { passes, node, next: 0, value: node }),
            false => visitor.visit_seq(Tracer { passes, node }.parts(fields.len())),
        };
        passes.leave(outer, node, value.is_ok());
        value
    }
}
