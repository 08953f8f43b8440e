//! [`LockedType`]: one type of a field in a lock, with its version, codec and samples.
//!
//! Used by `locked_schema` and `report`. Knows the text format of shapes.

use std::fmt::{self, Write};

use bytes::Bytes;

use super::{
    describe::Described,
    text::{write, write_name},
};
use crate::codec::{Codec, Fingerprint, Shape, parse, parse_name};

/// Beginning of the flag of a bridge release. The number of the former version that it writes
/// follows.
const WRITES: &str = "+writes-";

/// A type of a field, in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LockedType {
    pub(super) name: String,
    pub(super) version: u16,
    pub(super) codec: Codec,
    pub(super) fingerprint: Fingerprint,
    pub(super) shape: Shape,
    pub(super) is_principal: bool,
    pub(super) is_index: bool,
    pub(super) is_encrypted: bool,
    /// The former version that is written during a bridge release.
    pub(super) writes: Option<u16>,
    /// Every release that declared this version was a bridge release, so no release has written
    /// this version.
    pub(super) is_unwritten: bool,
    /// Values as they are stored.
    pub(super) samples: Vec<Bytes>,
    /// Values of a principal or of an index, as JSON.
    pub(super) json: Vec<String>,
}

impl LockedType {
    pub(super) fn of(field: &Described) -> Self {
        Self {
            name: field.spec.name().to_owned(),
            version: field.spec.version(),
            codec: field.codec,
            fingerprint: field.fingerprint,
            shape: field.shape.clone(),
            is_principal: field.spec.is_principal(),
            is_index: field.spec.is_index(),
            is_encrypted: field.spec.encrypts(field.spec.version()),
            writes: field.writes(),
            is_unwritten: field.writes().is_some(),
            samples: field.samples.union(&field.own_samples).cloned().collect(),
            json: field.json.union(&field.own_json).cloned().collect(),
        }
    }

    /// Adds the values of this type that the lock already has. Some may be samples from the
    /// application.
    pub(super) fn keep_values(&mut self, former: Self) {
        self.samples.extend(former.samples);
        self.samples.sort();
        self.samples.dedup();
        self.json.extend(former.json);
        self.json.sort();
        self.json.dedup();
    }

    /// Returns whether both are the same type of a field: name, version, codec and fingerprint are
    /// equal.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let key = |it: &Self| (it.name.clone(), it.version, it.codec, it.fingerprint);
        key(self) == key(other)
    }
}

impl fmt::Display for LockedType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(&self.name, f)?;
        let codec = word(self.codec);
        write!(f, " {} {codec} {:08x} ", self.version, self.fingerprint.bits())?;
        write(&self.shape, f)?;
        f.write_str(if self.is_principal { " +principal" } else { "" })?;
        f.write_str(if self.is_index { " +index" } else { "" })?;
        f.write_str(if self.is_encrypted { " +encrypt" } else { "" })?;
        self.writes.iter().try_for_each(|version| write!(f, " {WRITES}{version}"))?;
        f.write_str(if self.is_unwritten { " +unwritten" } else { "" })?;
        f.write_char('\n')?;
        for sample in &self.samples {
            writeln!(f, "  {sample:x}")?;
        }
        self.json.iter().try_for_each(|json| writeln!(f, "  json {json}"))
    }
}

const fn word(codec: Codec) -> &'static str {
    match codec {
        Codec::Bincode => "bincode",
        Codec::MessagePack => "messagepack",
    }
}

impl LockedType {
    /// Reads a line that holds a value of the type.
    pub(super) fn parse_value(&mut self, text: &str) -> Option<()> {
        match text.strip_prefix("json ") {
            Some(json) => self.json.push(json.to_owned()),
            None => self.samples.push(parse_hex(text)?),
        }
        Some(())
    }
}

/// Reads the line of a type.
pub(super) fn parse_type(line: &str) -> Option<LockedType> {
    let (name, rest) = parse_name(line)?;
    let mut words = rest.strip_prefix(' ')?.splitn(4, ' ');
    let version = words.next()?.parse().ok()?;
    let codec = words.next()?;
    let codec = [Codec::Bincode, Codec::MessagePack].into_iter().find(|one| word(*one) == codec)?;
    let fingerprint = Fingerprint::from_bits(u32::from_str_radix(words.next()?, 16).ok()?);
    let (shape, flags) = parse(words.next()?)?;
    let mut locked = LockedType {
        name,
        version,
        codec,
        fingerprint,
        shape,
        is_principal: false,
        is_index: false,
        is_encrypted: false,
        writes: None,
        is_unwritten: false,
        samples: Vec::new(),
        json: Vec::new(),
    };
    for flag in flags.split_whitespace() {
        match flag {
            "+principal" => locked.is_principal = true,
            "+index" => locked.is_index = true,
            "+unwritten" => locked.is_unwritten = true,
            "+encrypt" => locked.is_encrypted = true,
            _ => locked.writes = Some(flag.strip_prefix(WRITES)?.parse().ok()?),
        }
    }
    Some(locked)
}

fn parse_hex(text: &str) -> Option<Bytes> {
    let digits = text.as_bytes().chunks(2).map(|pair| match pair {
        [_, _] => u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok(),
        _ => None,
    });
    digits.collect()
}
