//! [`FieldReport`]: compares one field with its types in the lock.
//!
//! Used by `report`. Applies the `rules` and `omitted`.

#[cfg(feature = "messagepack")]
use std::collections::BTreeSet;

use bytes::Bytes;

#[cfg(feature = "messagepack")]
use super::omitted::omitted;
use super::{
    describe::Described,
    finding::{LockFinding, LockLevel},
    locked_type::LockedType,
    rules::{always_unreadable, renamed, unreadable},
    text::text,
};
#[cfg(feature = "messagepack")]
use crate::codec::HEADER_LEN;
use crate::codec::{self, Codec, Shape};

const POSITIONAL: &str = "the value: its layout has changed, and bincode reads by position";

/// The findings about one field.
pub(super) struct FieldReport<'r> {
    findings: &'r mut Vec<LockFinding>,
    field: &'r Described,
}

impl<'r> FieldReport<'r> {
    pub(super) const fn new(findings: &'r mut Vec<LockFinding>, field: &'r Described) -> Self {
        Self { findings, field }
    }

    fn add(&mut self, level: LockLevel, text: impl Into<String>) {
        self.findings.push(LockFinding::new(level, self.field.spec.name(), text));
    }

    /// Checks the field against its types in the lock.
    pub(super) fn check(&mut self, locked: &[&LockedType]) {
        self.check_values();
        let version = self.field.spec.version();
        // A bridge release that was rolled back has not written values of its version.
        let (unwritten, locked): (Vec<&LockedType>, Vec<_>) =
            locked.iter().partition(|of| of.is_unwritten && of.version > version);
        if let Some(of) = unwritten.first() {
            let text = format!(
                "has version {version} again; no release has written version {}.",
                of.version
            );
            self.add(LockLevel::Stale, text);
        }
        let Some(last) = locked.last() else { return };
        if version < last.version {
            let (former, next) = (last.version, last.version.saturating_add(1));
            return self.add(LockLevel::Breaks, format!(
                "has version {version}, but version {former} was released: its values would be \
                 refused as newer. Versions only go up. To go back, make version {next} of the former \
                 type."
            ));
        }
        // After the change is accepted, the last type in the lock has the version and the `writes`
        // of the field. So the warnings stop.
        let is_new = last.version < version || self.field.writes() != last.writes;
        for (at, of) in locked.iter().enumerate().filter(|(_, of)| of.version < version) {
            let is_last = locked[at + 1..].iter().all(|later| later.version != of.version);
            self.check_migration(of, is_new, is_last);
        }
        self.check_flags(&locked, last);
        let of_version: Vec<_> =
            locked.iter().copied().filter(|of| of.version == version).collect();
        match of_version.last() {
            Some(current) => self.check_same_version(current, &of_version),
            None if self.field.spec.written_version() == version => {
                self.add(
                    LockLevel::Warning,
                    format!(
                        "has a new version {version}. While instances of the previous release are \
                     running, they answer 503 where they read `{}`. With `writes = {}` for one \
                     release, they never read the new version.",
                        self.field.spec.name(),
                        last.version
                    ),
                );
            }
            None => self.add(
                LockLevel::Warning,
                format!(
                    "has a new version {version}. Version {} is written until `writes` is removed.",
                    self.field.spec.written_version()
                ),
            ),
        }
    }

    /// Checks whether the field reads and writes its values at all.
    fn check_values(&mut self) {
        if self.field.is_unreadable {
            self.add(LockLevel::Breaks, match self.field.codec {
                Codec::Bincode => {
                    "is written by bincode, which does not read back every value of this type: \
                     `skip_serializing_if`, `untagged`, `tag`, `flatten` and `Value` need a \
                     self-describing codec. Write `codec = \"messagepack\"`, or change the type."
                }
                Codec::MessagePack => {
                    "is written by MessagePack, which does not read back every value of this type: a \
                     `Some` of `None`, of `()` or of a JSON null reads as `None`. serde cannot read a number of \
                     128 bits inside of `tag`, `untagged` or `flatten`. Change the type."
                }
            });
        }
        if self.field.is_unwritable {
            let written = self.field.spec.written_version();
            self.add(LockLevel::Warning, format!(
                    "cannot write any of the sample values as version {written}. A write of such a value \
                     fails: the `TryFrom` of that version has to accept the values of live sessions."
                ),
            );
        }
    }

    /// Checks the encryption of a bridge release, and whether the field is an index or the
    /// principal.
    fn check_flags(&mut self, locked: &[&LockedType], last: &LockedType) {
        let version = self.field.spec.version();
        let written = self.field.spec.written_version();
        let is_written = |of: &&&LockedType| of.version == written && of.is_encrypted;
        if written != version
            && locked.iter().any(|of| is_written(&of))
            && !self.field.spec.encrypts(written)
        {
            self.add(
                LockLevel::Breaks,
                format!(
                    "writes version {written} without encryption, and instances of the previous \
                     release refuse that. Write `encrypt` until `writes` is removed."
                ),
            );
        }
        if self.field.spec.is_index() != last.is_index {
            let (level, text) = match last.is_index {
                false => (
                    LockLevel::Warning,
                    "is an index now: a live session is found only after it writes the field or \
                     after the next sign-in to it.",
                ),
                true => (LockLevel::Stale, "is no longer an index."),
            };
            self.add(level, text);
        }
        if self.field.spec.is_principal() != last.is_principal {
            self.add(LockLevel::Warning, match last.is_principal {
                false => {
                    "is the principal now: live sessions are not signed in by this value, so their users \
                     have to sign in again."
                }
                true => {
                    "is no longer the principal: live sessions can no longer be listed by user, \
                     or ended by `revoke_all`."
                }
            });
        }
    }

    /// Checks whether the field migrates each sample of a type of a former version. Most warnings
    /// appear only if the version or the `writes` of the field has changed (`is_new`). `is_last`
    /// means that the type is the last one of its version.
    fn check_migration(&mut self, locked: &LockedType, is_new: bool, is_last: bool) {
        let (field, former) = (self.field, locked.version);
        let mut kept = Vec::new();
        for (at, sample) in locked.samples.iter().enumerate() {
            match (field.read)(sample) {
                Ok(true) => kept.push(sample),
                Ok(false) => {}
                Err(error) => {
                    let number = at + 1;
                    self.add(
                        LockLevel::Breaks,
                        format!(
                            "cannot migrate value {number} of version {former}: {error}.\n    \
                         Was {}\n    The former type must not change, and its conversion has to \
                         accept this value.",
                            text(&locked.shape)
                        ),
                    );
                    return;
                }
            }
        }
        // A migration that discards a version does not read its values.
        let is_discarded = match &locked.samples[..] {
            [] => codec::encode(locked.codec, former, locked.fingerprint, &())
                .is_ok_and(|unreadable| matches!((field.read)(&unreadable), Ok(false))),
            _ => kept.is_empty(),
        };
        if is_new && (is_discarded || kept.len() < locked.samples.len()) {
            self.add(
                LockLevel::Warning,
                format!("discards version {former}: its values read as absent."),
            );
        }
        if is_discarded {
            return;
        }
        self.check_migrated_encryption(locked, is_new);
        self.check_migrated_keys(locked, &kept);
        let is_bridge = field.writes() == Some(former);
        if is_bridge && is_last && field.writes_itself && field.fingerprint != locked.fingerprint {
            self.check_bridge(locked);
        }
        let is_exact = || kept.iter().all(|sample| (field.migrates_exactly)(sample));
        if (is_new || is_bridge) && is_last && !is_exact() {
            let was = text(&locked.shape);
            match is_bridge {
                true => self.add(
                    LockLevel::Breaks,
                    format!(
                        "writes version {former} with a type that version {former} did not have: \
                         instances of the previous release may not read it.\n    Was {was}"
                    ),
                ),
                false => self.add(
                    LockLevel::Warning,
                    format!(
                        "migrates version {former} from a type that version {former} did not \
                         have: parts of its values may be lost.\n    Was {was}"
                    ),
                ),
            }
        }
    }

    /// Checks whether the field reads unencrypted values of a former version.
    fn check_migrated_encryption(&mut self, locked: &LockedType, is_new: bool) {
        let (field, former) = (self.field, locked.version);
        if field.spec.encrypts(former) && !locked.is_encrypted {
            let version = field.spec.version();
            match is_new {
                true => self.add(
                    LockLevel::Breaks,
                    format!(
                        "is encrypted now, and refuses the unencrypted values of version {former} \
                         that live sessions hold. Write `encrypt(since = {version})`."
                    ),
                ),
                false => self.add(
                    LockLevel::Warning,
                    format!(
                        "refuses unencrypted values of version {former} now. Accept the change \
                         only after all sessions that hold such a value have ended."
                    ),
                ),
            }
        }
    }

    /// Checks whether sessions are still found by migrated values.
    fn check_migrated_keys(&mut self, locked: &LockedType, kept: &[&Bytes]) {
        let (field, former) = (self.field, locked.version);
        let keeps_keys = || kept.iter().all(|sample| (field.keeps_principal)(sample));
        if locked.is_index && field.spec.is_index() && !keeps_keys() {
            self.add(
                LockLevel::Breaks,
                format!(
                    "is not indexed by the same values as version {former}: live sessions would \
                     not be found. The conversion back to version {former} has to return the \
                     former value."
                ),
            );
        }
        if locked.is_principal && !keeps_keys() {
            self.add(
                LockLevel::Breaks,
                format!(
                    "does not name the same principals as version {former}: existing sessions \
                     could not be listed by user, or ended by `revoke_all`. The conversion back \
                     to version {former} has to return the former value."
                ),
            );
        }
    }

    /// Checks whether the previous release reads the values that a bridge release writes in the
    /// field's own type.
    fn check_bridge(&mut self, locked: &LockedType) {
        let (field, former) = (self.field, locked.version);
        let (always, some) = match field.codec {
            Codec::Bincode => (vec![POSITIONAL.to_owned()], Vec::new()),
            Codec::MessagePack => (
                always_unreadable(&field.shape, &locked.shape),
                [unreadable(&field.shape, &locked.shape), left_out(field, &locked.shape)].concat(),
            ),
        };
        if !always.is_empty() {
            self.add(LockLevel::Breaks, format!(
                    "writes version {former} as its own type, which instances of the previous release cannot \
                     read:{}\n    Name the former type in `migrate({former} => ..)`.",
                    list(&always)
                ),
            );
        } else if !some.is_empty() {
            self.add(LockLevel::Warning, format!(
                    "writes version {former} as its own type, and instances of the previous release do not read \
                     every value:{}\n    Do not write such a value before `writes` is removed.",
                    list(&some)
                ),
            );
        }
    }

    /// Checks the field against types of its version.
    fn check_same_version(&mut self, current: &LockedType, locked: &[&LockedType]) {
        let field = self.field;
        let (former, next) = (field.spec.version(), field.spec.version().saturating_add(1));
        let has_samples = field.own_samples.iter().all(|sample| current.samples.contains(sample));
        self.check_json(current, has_samples);
        if field.writes() != current.writes {
            self.add(
                LockLevel::Stale,
                format!(
                    "writes version {} from now on, which instances of the previous release read.",
                    field.spec.written_version()
                ),
            );
        }
        self.check_encryption(current);
        // A bridge release does not write values in the version of the field.
        if locked.iter().all(|of| of.is_unwritten) && field.shape != current.shape {
            self.add(LockLevel::Stale, "has changed, and no release has written it yet.");
            return;
        }
        if let Some(reasons) = locked.iter().rev().find_map(|of| unread(field, of)) {
            return self.add(LockLevel::Breaks, format!(
                    "cannot read what live sessions hold:{}\n    Make the change readable \
                 (`#[serde(default)]`, `#[serde(alias = \"..\")]`), or keep the former type and write \
                 `version = {next}, migrate({former} => FormerType)`.{}",
                    list(&reasons),
                    advice(current.codec)
                ),
            );
        }
        if field.shape == current.shape && field.codec == current.codec {
            if field.fingerprint != current.fingerprint {
                self.add(LockLevel::Stale, "has a different fingerprint in this release of ruts.");
            }
            if !has_samples {
                self.add(LockLevel::Stale, "has a sample that the lock lacks.");
            }
            return;
        }
        self.check_both_directions(current);
    }

    /// Checks whether sessions are still found by the JSON of the value.
    fn check_json(&mut self, current: &LockedType, has_samples: bool) {
        let (field, spec) = (self.field, self.field.spec);
        let next = spec.version().saturating_add(1);
        let own_json = field.own_json.iter().filter(|_| has_samples);
        let mut json = field.json.iter().chain(own_json);
        let is_key =
            (spec.is_principal() && current.is_principal) || (spec.is_index() && current.is_index);
        if is_key && !json.all(|json| current.json.contains(json)) {
            let by = if spec.is_principal() { "their user" } else { "this value" };
            let before = current.json.first().map_or("nothing", String::as_str);
            let now = field.json.first().map_or("nothing", String::as_str);
            self.add(
                LockLevel::Breaks,
                format!(
                    "has different JSON ({before} before, {now} now): existing sessions could not \
                     be found by {by}, or ended by `revoke_all`. Keep the JSON, or make it version \
                     {next} with `migrate`."
                ),
            );
        }
    }

    /// Checks whether both releases read values in the encryption of the other.
    fn check_encryption(&mut self, current: &LockedType) {
        let spec = self.field.spec;
        let (former, next) = (spec.version(), spec.version().saturating_add(1));
        let is_encrypted = spec.encrypts(spec.version());
        if is_encrypted && !current.is_encrypted {
            self.add(
                LockLevel::Breaks,
                format!(
                    "is encrypted now, and refuses the unencrypted values of live sessions. Write \
                 `version = {next}, encrypt(since = {next}), migrate({former} => ..)`."
                ),
            );
        }
        if !is_encrypted && current.is_encrypted {
            self.add(
                LockLevel::Breaks,
                format!(
                    "is no longer encrypted, and instances of the previous release refuse \
                     unencrypted values, during the deploy and after a rollback. Write \
                     `version = {next}, migrate({former} => ..)`: they then answer 503 for this \
                     field."
                ),
            );
        }
    }

    /// Checks whether the previous release reads what the field writes, and which values were
    /// renamed.
    fn check_both_directions(&mut self, current: &LockedType) {
        let field = self.field;
        let (former, next) = (field.spec.version(), field.spec.version().saturating_add(1));
        let reasons = match field.codec {
            Codec::MessagePack => {
                let mut reasons = unreadable(&field.shape, &current.shape);
                if reasons.is_empty() {
                    reasons.extend(left_out(field, &current.shape));
                }
                reasons
            }
            Codec::Bincode if field.fingerprint == current.fingerprint => Vec::new(),
            Codec::Bincode => vec![POSITIONAL.to_owned()],
        };
        let dropped = renamed(&current.shape, &field.shape);
        let hidden = renamed(&field.shape, &current.shape);
        match reasons.is_empty() {
            true if !dropped.is_empty() => self.add(LockLevel::Warning, format!(
                    "reads what live sessions hold, but drops the values of fields that were probably \
                     renamed:{}\n    To keep them, write `#[serde(rename = \"..\")]` with the former \
                     name.",
                    list(&dropped)
                ),
            ),
            true if !hidden.is_empty() => self.add(LockLevel::Warning, format!(
                    "has fields with a different name, which instances of the previous release \
                     read as absent:{}\n    If these instances set the fields, this release cannot read \
                     the value, because the value has both names. Write `#[serde(rename = \"..\")]` with \
                     the former name instead of an alias.",
                    list(&hidden)
                ),
            ),
            true if !field.has_values => self.add(LockLevel::Warning, "has changed, and ruts has no value that shows which fields of the type may be missing. Both \
                 releases read both types only if each added or removed field has a default. Add a value: \
                 `LockTest::sample`.",
            ),
            true => self.add(LockLevel::Stale, "has changed: both releases read both types."),
            false => self.add(LockLevel::Breaks, format!(
                "reads what live sessions hold, but instances of the previous release cannot read \
                 what it writes, during the deploy and after a rollback:{}\n    Write \
                 `version = {next}, migrate({former} => FormerType)`: these instances then answer 503 for \
                 this field, instead of failing or overwriting it. To avoid that too, add \
                 `writes = {former}` for one release.{}",
                list(&reasons),
                advice(field.codec)
            )),
        }
    }
}

/// Returns the reasons why a field does not read the values of a locked type of its version.
fn unread(field: &Described, locked: &LockedType) -> Option<Vec<String>> {
    let mut reasons = match locked.codec {
        Codec::MessagePack => unreadable(&locked.shape, &field.shape),
        Codec::Bincode if field.fingerprint == locked.fingerprint => Vec::new(),
        // The program reads the value by name, with the names in the lock.
        Codec::Bincode if field.spec.has_lock() => unreadable(&locked.shape, &field.shape),
        Codec::Bincode => vec![POSITIONAL.to_owned()],
    };
    // A type may also refuse a value for a reason that its shape does not show.
    let is_read = |sample: &Bytes| matches!((field.read)(sample), Ok(true));
    if reasons.is_empty() && !locked.samples.iter().all(is_read) {
        reasons.push("the value: a value that the former type accepts is refused".to_owned());
    }
    (!reasons.is_empty()).then_some(reasons)
}

/// Returns the fields that a type with this shape requires, and that values of the field leave out.
#[cfg(feature = "messagepack")]
fn left_out(field: &Described, reader: &Shape) -> Vec<String> {
    let samples = field.samples.iter().chain(&field.own_samples);
    let payloads = samples.filter_map(|sample| sample.get(HEADER_LEN..));
    let fields: BTreeSet<String> = payloads.flat_map(|payload| omitted(reader, payload)).collect();
    fields
        .into_iter()
        .map(|place| format!("{place}: a value may lack it, and it has no default"))
        .collect()
}

/// Without this codec, fields do not write MessagePack.
#[cfg(not(feature = "messagepack"))]
fn left_out(_field: &Described, _reader: &Shape) -> Vec<String> {
    Vec::new()
}

fn list(reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("\n      {reason}")).collect()
}

fn advice(codec: Codec) -> &'static str {
    match codec {
        Codec::Bincode => {
            "\n    With `codec = \"messagepack\"`, added and removed fields need no version."
        }
        Codec::MessagePack => "",
    }
}
