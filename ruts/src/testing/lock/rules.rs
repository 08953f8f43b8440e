//! [`unreadable`] returns the reasons why one type cannot read MessagePack values of a different
//! type. [`always_unreadable`] returns the reasons that apply to every value. [`renamed`] returns
//! the fields whose values are lost because the fields were probably renamed.
//!
//! Used by `field_report`. Restates the rules of the MessagePack reader for shapes. `tests/types`
//! compares these rules with the reader.

use super::text::text;
use crate::codec::{Part, Shape};

/// Returns the reasons why `reader` does not read every value of `writer`, each with the place in
/// the type. Empty if it reads all of them.
pub(super) fn unreadable(writer: &Shape, reader: &Shape) -> Vec<String> {
    let reasons = Check::of(writer, reader).reasons.into_iter();
    reasons.map(|(reason, _)| reason).collect()
}

/// Returns the reasons why `reader` cannot read any value of `writer`. A variant that `reader` does
/// not know, or a number that `reader` cannot hold, is not such a reason.
pub(super) fn always_unreadable(writer: &Shape, reader: &Shape) -> Vec<String> {
    let reasons = Check::of(writer, reader).reasons.into_iter();
    reasons.filter(|(_, extent)| *extent == Extent::Always).map(|(reason, _)| reason).collect()
}

/// Returns the fields of `reader` that were probably renamed, each with its place in the type. Such
/// a field is absent in `writer`, and has the shape of a field that `reader` lacks.
pub(super) fn renamed(writer: &Shape, reader: &Shape) -> Vec<String> {
    Check::of(writer, reader).renamed
}

/// The values to which a reason applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Always,
    Sometimes,
}

struct Check {
    reasons: Vec<(String, Extent)>,
    renamed: Vec<String>,
    path: Vec<String>,
}

impl Check {
    fn of(writer: &Shape, reader: &Shape) -> Self {
        let mut check = Self { reasons: Vec::new(), renamed: Vec::new(), path: Vec::new() };
        check.shape(writer, reader);
        check
    }

    fn refuse(&mut self, reason: impl AsRef<str>) {
        self.refuse_to(Extent::Always, reason);
    }

    /// Records a reason for which only some values are refused.
    fn refuse_some(&mut self, reason: impl AsRef<str>) {
        self.refuse_to(Extent::Sometimes, reason);
    }

    fn refuse_to(&mut self, extent: Extent, reason: impl AsRef<str>) {
        let place = if self.path.is_empty() { "the value" } else { &self.path.join(".") };
        self.reasons.push((format!("{place}: {}", reason.as_ref()), extent));
    }

    /// Checks a part with this name.
    fn within(&mut self, name: &str, check: impl FnOnce(&mut Self)) {
        self.path.push(name.to_owned());
        check(self);
        self.path.pop();
    }

    fn at(&mut self, name: &str, writer: &Shape, reader: &Shape) {
        self.within(name, |check| check.shape(writer, reader));
    }

    fn refuse_at(&mut self, name: &str, reason: &str) {
        self.within(name, |check| check.refuse(reason));
    }

    fn shape(&mut self, writer: &Shape, reader: &Shape) {
        match (writer, reader) {
            (Shape::Leaf("unknown"), _) | (_, Shape::Leaf("unknown")) => {
                self.refuse("its structure is not known");
            }
            (writer, reader) if writer == reader => {}
            (_, Shape::Leaf("any")) | (Shape::Leaf("any"), _) => {
                self.refuse_some("whether it is read depends on the value");
            }
            (Shape::Option(writer), Shape::Option(reader)) => self.shape(writer, reader),
            (Shape::Leaf("unit"), Shape::Option(_)) => {}
            (writer, Shape::Option(reader)) => self.shape(writer, reader),
            (Shape::Option(writer), reader) => {
                self.refuse_some("`None` is an error");
                self.shape(writer, reader);
            }
            (Shape::Seq(writer), Shape::Seq(reader)) => self.at("[]", writer, reader),
            (Shape::Tuple(writer), Shape::Seq(reader)) => {
                writer.iter().for_each(|writer| self.at("[]", writer, reader));
            }
            (Shape::Seq(_), Shape::Tuple(reader)) => {
                let len = reader.len();
                self.refuse_some(format!("a number of elements other than {len} is an error"));
            }
            (Shape::Tuple(writer), Shape::Tuple(reader)) if writer.len() == reader.len() => {
                for (at, (writer, reader)) in writer.iter().zip(reader).enumerate() {
                    self.at(&at.to_string(), writer, reader);
                }
            }
            (Shape::Map(writer), Shape::Map(reader)) => {
                self.at("key", &writer.0, &reader.0);
                self.at("value", &writer.1, &reader.1);
            }
            (Shape::Struct { fields, .. }, Shape::Map(entry)) if entry.0 == Shape::Leaf("str") => {
                fields.iter().for_each(|field| self.at(&field.name, &field.shape, &entry.1));
            }
            (Shape::Map(entry), Shape::Struct { fields, .. }) if entry.0 == Shape::Leaf("str") => {
                if fields.iter().any(|field| !field.is_optional) {
                    self.refuse_some("a map need not have all fields");
                }
                fields.iter().for_each(|field| self.at(&field.name, &entry.1, &field.shape));
            }
            (
                Shape::Struct { fields: writer, .. },
                Shape::Struct { fields: reader, is_closed, .. },
            ) => self.fields(writer, reader, *is_closed),
            (
                Shape::Enum { variants: writer, .. },
                Shape::Enum { variants: reader, has_other, .. },
            ) => self.variants(writer, reader, *has_other),
            (Shape::Enum { variants, .. }, Shape::Leaf("str")) => {
                let is_unit = |variant: &Part| variant.shape == Shape::Leaf("unit");
                if !variants.iter().all(is_unit) {
                    self.refuse_some("a variant with a value is not a string");
                }
            }
            (Shape::Leaf("str"), Shape::Enum { variants, .. })
                if variants.iter().any(|variant| variant.shape == Shape::Leaf("unit")) =>
            {
                self.refuse_some("a string that is not the name of a variant is an error");
            }
            (Shape::Leaf("bytes"), Shape::Seq(element))
            | (Shape::Seq(element), Shape::Leaf("bytes"))
                if **element == Shape::Leaf("u8") => {}
            (Shape::TwoForms(_), Shape::Leaf("str")) => {}
            (Shape::Leaf("str"), Shape::TwoForms(_)) => {
                self.refuse_some("a string of a different form is an error");
            }
            (Shape::Leaf(writer), Shape::Leaf(reader)) => self.leaf(writer, reader),
            (writer, reader) => self.differ(writer, reader),
        }
    }

    fn differ(&mut self, writer: &Shape, reader: &Shape) {
        self.refuse(format!("was {}, is {}", text(writer), text(reader)));
    }

    fn fields(&mut self, writer: &[Part], reader: &[Part], is_closed: bool) {
        for field in reader {
            match writer.iter().find(|written| field.is_read_as(&written.name)) {
                Some(written) => self.at(&field.name, &written.shape, &field.shape),
                None if field.is_optional => {
                    let is_lost = |written: &&Part| {
                        written.shape == field.shape
                            && !reader.iter().any(|field| field.is_read_as(&written.name))
                    };
                    if let Some(written) = writer.iter().find(is_lost) {
                        self.within(&field.name, |check| {
                            let place = check.path.join(".");
                            check.renamed.push(format!("{place}: was probably `{}`", written.name));
                        });
                    }
                }
                None => {
                    self.refuse_at(&field.name, "is missing in stored values, and has no default")
                }
            }
        }
        for written in writer {
            if is_closed && !reader.iter().any(|field| field.is_read_as(&written.name)) {
                self.refuse_at(&written.name, "is stored, and unknown fields are refused");
            }
        }
    }

    fn variants(&mut self, writer: &[Part], reader: &[Part], has_other: bool) {
        for written in writer {
            match reader.iter().find(|variant| variant.is_read_as(&written.name)) {
                Some(variant) => {
                    let before = self.reasons.len();
                    match (&written.shape, &variant.shape) {
                        // A variant without a value is read as a variant without fields.
                        (Shape::Leaf("unit"), Shape::Struct { fields, .. }) => {
                            self.within(&written.name, |check| check.fields(&[], fields, false));
                        }
                        (writer, reader) => self.at(&written.name, writer, reader),
                    }
                    // Values of other variants are read, so the reasons apply only to some values.
                    let inside = self.reasons[before..].iter_mut();
                    inside.for_each(|(_, extent)| *extent = Extent::Sometimes);
                }
                // A variant marked `#[serde(other)]` accepts only variants without a value.
                None if has_other && written.shape == Shape::Leaf("unit") => {}
                None => self.within(&written.name, |check| {
                    check.refuse_some("this variant is not read");
                }),
            }
        }
    }

    fn leaf(&mut self, writer: &'static str, reader: &'static str) {
        let (writes, reads) = (Number::of(writer), Number::of(reader));
        match (writer, reader, writes, reads) {
            ("char", "str", ..) | ("f32", "f64", ..) => {}
            ("str", "char", ..) => {
                self.refuse_some("a string that is not one character is an error")
            }
            ("f64", "f32", ..) => {
                self.refuse_some("a number that an `f32` cannot hold is an error")
            }
            (_, _, Some(writes), Some(reads)) if writes.bits < 128 || reads.bits == 128 => {
                if !writes.fits(reads) {
                    self.refuse_some(format!("a {writer} that {reader} cannot hold is an error"));
                }
            }
            (_, "f64" | "f32", Some(writes), _) if writes.bits < 128 => {
                let exact = if reader == "f64" { 53 } else { 24 };
                if writes.bits > exact {
                    self.refuse_some(format!("a {writer} that {reader} cannot hold is an error"));
                }
            }
            _ => self.differ(&Shape::Leaf(writer), &Shape::Leaf(reader)),
        }
    }
}

/// An integer type.
#[derive(Clone, Copy)]
struct Number {
    is_signed: bool,
    bits: u32,
}

impl Number {
    fn of(word: &str) -> Option<Self> {
        let is_signed = word.starts_with('i');
        let bits = word.strip_prefix(['u', 'i'])?.parse().ok()?;
        Some(Self { is_signed, bits })
    }

    fn fits(self, other: Self) -> bool {
        match (self.is_signed, other.is_signed) {
            (true, false) => false,
            (false, true) => self.bits < other.bits,
            (false, false) | (true, true) => self.bits <= other.bits,
        }
    }
}
