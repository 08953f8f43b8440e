//! [`Described`]: a declared field of this build, with its shape and sample values.
//!
//! `file` makes a [`Described`] for each typed key of a session struct. Knows `probe`, and the
//! tracer of `codec`.

use std::collections::BTreeSet;

use bytes::Bytes;

#[cfg(feature = "messagepack")]
use super::probe;
use crate::{
    codec::{self, Codec, CodecError, Fingerprint, Shape},
    field::{Field, FieldSpec, FieldValue, FieldVisitor, Mode},
};

/// Maximum number of values of one field. More than 64 variants are rare.
const MAX_SAMPLES: usize = 64;

/// A declared field, with its shape and sample values.
pub(super) struct Described {
    pub(super) spec: &'static FieldSpec,
    pub(super) shape: Shape,
    /// Whether values of the type were found. They show which fields may be missing.
    pub(super) has_values: bool,
    /// The codec that writes the values.
    pub(super) codec: Codec,
    pub(super) fingerprint: Fingerprint,
    /// Values that ruts made from the type, as this build stores them.
    pub(super) samples: BTreeSet<Bytes>,
    /// Values from the application, in their stored form.
    pub(super) own_samples: BTreeSet<Bytes>,
    /// Values of a principal or of an index from the application, as JSON.
    pub(super) own_json: BTreeSet<String>,
    /// Values of a principal or of an index as JSON, by which sessions are found.
    pub(super) json: BTreeSet<String>,
    /// Whether the codec writes values that it cannot read back.
    pub(super) is_unreadable: bool,
    /// Whether this is a bridge release that cannot write any sample as the former version.
    pub(super) is_unwritable: bool,
    /// Whether this is a bridge release that writes values of the former version in the field's own
    /// type, without a conversion.
    pub(super) writes_itself: bool,
    /// Reads a stored value, as the session does. Returns `false` if a migration discards the
    /// value.
    pub(super) read: ReadStored,
    /// Returns whether the migration reads a former value only as the type that wrote it, or as the
    /// type of the field.
    pub(super) migrates_exactly: Judge,
    /// Returns whether a former value and its migrated value have the same key as a principal or in
    /// an index.
    pub(super) keeps_principal: Judge,
}

impl Described {
    /// Returns the former version that is written during a bridge release.
    pub(super) fn writes(&self) -> Option<u16> {
        let written = self.spec.written_version();
        (written != self.spec.version()).then_some(written)
    }
}

/// A value of a field that the application gives to its lock.
#[derive(Debug)]
pub(super) struct Sample {
    name: &'static str,
    /// The stored form. An error if the value cannot be encoded, or cannot be read back.
    stored: Result<Bytes, CodecError>,
    json: Option<String>,
}

impl Sample {
    pub(super) fn new<T: FieldValue, M: Mode>(field: Field<T, M>, value: &T) -> Self {
        let json = is_key(field.spec()).then(|| serde_json::to_string(value).ok()).flatten();
        Self { name: field.spec().name(), stored: field.encode_checked(value), json }
    }

    /// Adds the sample to its field.
    #[track_caller]
    pub(super) fn add_to(&self, fields: &mut [Described]) {
        let mut fields = fields.iter_mut();
        let field = fields.find(|field| field.spec.name() == self.name);
        let field = field.unwrap_or_else(|| panic!("the session has no field `{}`", self.name));
        match &self.stored {
            Ok(stored) => drop(field.own_samples.insert(stored.clone())),
            Err(_) => field.is_unreadable = true,
        }
        field.own_json.extend(self.json.clone());
    }
}

type ReadStored = Box<dyn Fn(&[u8]) -> Result<bool, CodecError>>;
type Judge = Box<dyn Fn(&[u8]) -> bool>;

pub(super) struct Describe<'a> {
    pub(super) fields: Vec<Described>,
    /// Samples from the application.
    pub(super) samples: &'a [Sample],
}

impl FieldVisitor for Describe<'_> {
    fn visit<T: FieldValue, M: Mode + 'static>(&mut self, field: Field<T, M>) {
        let spec = field.spec();
        let (mut shape, values) = codec::trace_values::<T>();
        let own = self.samples.iter().filter(|sample| sample.name == spec.name());
        let own: Vec<T> = own
            .filter_map(|sample| field.decode(sample.stored.as_ref().ok()?).ok().flatten())
            .collect();
        let has_values = !values.is_empty() || !own.is_empty();
        resolve::<T>(&mut shape, values.iter().chain(&own));
        if !has_values {
            // Without values, it is unknown which fields are optional, so all count as optional.
            shape.assume_optional();
        }
        shape.forget_loose();
        let codec = field.written_codec().unwrap_or(spec.codec());
        let is_bridge = spec.written_version() != spec.version();
        let written: Vec<_> = values.iter().map(|value| field.encode(value)).collect();
        let is_own = |stored: &Bytes| {
            codec::origin(stored).is_some_and(|(.., writer)| writer == field.fingerprint())
        };
        let mut described = Described {
            spec,
            is_unreadable: is_unreadable(codec, &shape),
            is_unwritable: is_bridge && !values.is_empty() && written.iter().all(Result::is_err),
            writes_itself: is_bridge && written.iter().flatten().any(is_own),
            shape,
            has_values,
            codec,
            fingerprint: field.fingerprint(),
            samples: BTreeSet::new(),
            own_samples: BTreeSet::new(),
            own_json: BTreeSet::new(),
            json: BTreeSet::new(),
            read: Box::new(move |stored| field.decode(stored).map(|value| value.is_some())),
            migrates_exactly: Box::new(move |stored| field.migrates_exactly(stored)),
            keeps_principal: Box::new(move |stored| field.keeps_principal(stored)),
        };
        for value in values.iter().take(MAX_SAMPLES) {
            match field.encode_checked(value) {
                Ok(stored) => drop(described.samples.insert(stored)),
                Err(_) => described.is_unreadable = true,
            }
            if is_key(spec) {
                described.json.extend(serde_json::to_string(value));
            }
        }
        self.fields.push(described);
    }
}

/// Returns whether sessions are found by the JSON of the value.
fn is_key(spec: &FieldSpec) -> bool {
    spec.is_principal() || spec.is_index()
}

/// Returns whether the codec cannot read back some values of this shape, even if it reads back all
/// samples.
fn is_unreadable(codec: Codec, shape: &Shape) -> bool {
    match codec {
        Codec::Bincode => shape.has(&|part| *part == Shape::Leaf("any")),
        // MessagePack writes `Some(None)` as `None`.
        Codec::MessagePack => shape.has(&|part| match part {
            Shape::Option(inner) => matches!(**inner, Shape::Option(_)),
            _ => false,
        }),
    }
}

#[cfg(feature = "messagepack")]
fn resolve<'a, T: FieldValue>(shape: &mut Shape, values: impl Iterator<Item = &'a T>) {
    const PROBE: FieldSpec = FieldSpec::new("probe").with_codec(Codec::MessagePack);
    let field = Field::<T>::new(&PROBE);
    let encode = |value: &T| field.encode(value).ok();
    let stored: Vec<Bytes> = values.filter_map(encode).collect();
    let Some(header) = stored.first().map(|first| first.slice(..codec::HEADER_LEN)) else { return };
    let payload = |stored: Bytes| stored[codec::HEADER_LEN..].to_vec();
    let reread = |changed: &[u8]| {
        let value = field.decode(&[&header[..], changed].concat()).ok()??;
        encode(&value).map(payload)
    };
    let payloads: Vec<Vec<u8>> = stored.into_iter().map(payload).collect();
    probe::resolve(shape, &payloads, &reread);
}

/// Does nothing: for bincode, only the fingerprint decides whether a value can be read.
#[cfg(not(feature = "messagepack"))]
fn resolve<'a, T: FieldValue>(_shape: &mut Shape, _values: impl Iterator<Item = &'a T>) {}
