//! [`LockReport`]: the differences between a build and its lock, and their effect on live sessions.
//!
//! Made by `file` with the `rules` and `omitted`. Read by tests of applications.

#[cfg(feature = "messagepack")]
use std::collections::BTreeSet;
use std::{cmp::Reverse, collections::BTreeMap, fmt};

#[cfg(feature = "messagepack")]
use super::omitted::omitted;
use super::{
    describe::Described,
    locked_schema::LockedSchema,
    locked_type::LockedType,
    rules::{always_unreadable, renamed, unreadable},
    text::text,
};
#[cfg(feature = "messagepack")]
use crate::codec::HEADER_LEN;
use crate::{
    codec::{self, Codec, Shape},
    field::SessionSchema,
};

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LockLevel {
    /// The lock is out of date, but the change does not affect live sessions.
    Stale,
    /// The change has an effect to be aware of before the deploy.
    Warning,
    /// Live sessions would lose a value, or requests would fail. The change cannot be accepted: change
    /// the code instead.
    Breaks,
}

/// A finding about one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFinding {
    level: LockLevel,
    field: String,
    text: String,
}

impl LockFinding {
    /// Returns the severity of the finding.
    pub const fn level(&self) -> LockLevel {
        self.level
    }

    /// Returns the stored name of the field.
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for LockFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<7} `{}` {}", format!("{:?}", self.level), self.field, self.text)
    }
}

/// The findings of a comparison with a [`Lock`](super::Lock), the worst first. For each finding,
/// the `Display` output says what to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockReport {
    findings: Vec<LockFinding>,
}

impl fmt::Display for LockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

impl LockReport {
    /// Returns the findings, the worst first.
    pub fn findings(&self) -> &[LockFinding] {
        &self.findings
    }

    /// Returns whether the lock describes the fields as they are.
    pub const fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// Returns whether a finding [breaks](LockLevel::Breaks).
    pub fn breaks(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == LockLevel::Breaks)
    }

    pub(super) fn new(
        sections: &BTreeMap<String, LockedSchema>,
        declared: &SessionSchema,
        fields: &[Described],
    ) -> Self {
        let mut report = Self::default();
        let nothing = LockedSchema::default();
        let schema = sections.get(declared.name()).unwrap_or(&nothing);
        let is_retired = |of: &&LockedType| declared.retired().contains(&of.name.as_str());
        let types = schema.types.iter().filter(|of| !is_retired(of));
        let locked: &[LockedType] = &types.cloned().collect::<Vec<_>>();
        for field in fields {
            let of_field: Vec<_> =
                locked.iter().filter(|of| of.name == field.spec.name()).collect();
            report.field(field, &of_field);
            if schema.retired.contains(field.spec.name()) {
                report.say(
                    LockLevel::Breaks,
                    field.spec.name(),
                    "was retired: sessions may still hold a value with its former meaning. Choose \
                     another name.",
                );
            } else if of_field.is_empty() {
                match in_other_section(sections, declared, field) {
                    Some((section, of)) => report.field_of_section(declared, field, section, of),
                    None => report.new_field(declared, field, locked, fields),
                }
            }
        }
        for name in declared.retired() {
            if !schema.retired.contains(*name) {
                report.say(LockLevel::Stale, name, "is retired.");
            }
        }
        report.gone(declared, locked, fields);
        report.findings.sort_by_key(|finding| Reverse(finding.level));
        report
    }

    fn say(&mut self, level: LockLevel, field: &str, text: impl Into<String>) {
        self.findings.push(LockFinding { level, field: field.to_owned(), text: text.into() });
    }

    fn field(&mut self, field: &Described, locked: &[&LockedType]) {
        let name = field.spec.name();
        if field.is_unreadable {
            self.say(LockLevel::Breaks, name, match field.codec {
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
        if field.is_unwritable {
            let written = field.spec.written_version();
            self.say(
                LockLevel::Warning,
                name,
                format!(
                    "cannot write any of the sample values as version {written}. A write of such a value \
                     fails: the `TryFrom` of that version has to accept the values of live sessions."
                ),
            );
        }
        let version = field.spec.version();
        // A bridge release that was rolled back has not written values of its version.
        let (unwritten, locked): (Vec<&LockedType>, Vec<_>) =
            locked.iter().partition(|of| of.is_unwritten && of.version > version);
        if let Some(of) = unwritten.first() {
            let text = format!(
                "has version {version} again; no release has written version {}.",
                of.version
            );
            self.say(LockLevel::Stale, name, text);
        }
        let Some(last) = locked.last() else { return };
        if version < last.version {
            let (former, next) = (last.version, last.version.saturating_add(1));
            return self.say(LockLevel::Breaks, name, format!(
                "has version {version}, but version {former} was released: its values would be \
                 refused as newer. Versions only go up. To go back, make version {next} of the former \
                 type."
            ));
        }
        // After the change is accepted, the last type in the lock has the version and the `writes` of the
        // field. So the warnings stop.
        let is_new = last.version < version || field.writes() != last.writes;
        for (at, of) in locked.iter().enumerate().filter(|(_, of)| of.version < version) {
            let is_last = locked[at + 1..].iter().all(|later| later.version != of.version);
            self.migration(field, of, is_new, is_last);
        }
        let written = field.spec.written_version();
        let is_written = |of: &&&LockedType| of.version == written && of.is_encrypted;
        if written != version
            && locked.iter().any(|of| is_written(&of))
            && !field.spec.encrypts(written)
        {
            self.say(
                LockLevel::Breaks,
                name,
                format!(
                    "writes version {written} without encryption, and instances of the previous \
                     release refuse that. Write `encrypt` until `writes` is removed."
                ),
            );
        }
        if field.spec.is_index() != last.is_index {
            let (level, text) = match last.is_index {
                false => (
                    LockLevel::Warning,
                    "is an index now: a live session is found only after it writes the field or \
                     after the next sign-in to it.",
                ),
                true => (LockLevel::Stale, "is no longer an index."),
            };
            self.say(level, name, text);
        }
        if field.spec.is_principal() != last.is_principal {
            self.say(LockLevel::Warning, name, match last.is_principal {
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
        let of_version: Vec<_> =
            locked.iter().copied().filter(|of| of.version == version).collect();
        match of_version.last() {
            Some(current) => self.same_version(field, current, &of_version),
            None if field.spec.written_version() == version => {
                self.say(
                    LockLevel::Warning,
                    name,
                    format!(
                        "has a new version {version}. While instances of the previous release are \
                     running, they answer 503 where they read `{name}`. With `writes = {}` for one \
                     release, they never read the new version.",
                        last.version
                    ),
                );
            }
            None => self.say(
                LockLevel::Warning,
                name,
                format!(
                    "has a new version {version}. Version {} is written until `writes` is removed.",
                    field.spec.written_version()
                ),
            ),
        }
    }

    /// Checks whether the field migrates each sample of a type of a former version. Most warnings appear only
    /// if the version or the `writes` of the field has changed (`is_new`). `is_last` means that the type is
    /// the last one of its version.
    fn migration(&mut self, field: &Described, locked: &LockedType, is_new: bool, is_last: bool) {
        let (name, former) = (field.spec.name(), locked.version);
        let mut kept = Vec::new();
        for (at, sample) in locked.samples.iter().enumerate() {
            match (field.read)(sample) {
                Ok(true) => kept.push(sample),
                Ok(false) => {}
                Err(error) => {
                    let number = at + 1;
                    self.say(
                        LockLevel::Breaks,
                        name,
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
            self.say(
                LockLevel::Warning,
                name,
                format!("discards version {former}: its values read as absent."),
            );
        }
        if is_discarded {
            return;
        }
        if field.spec.encrypts(former) && !locked.is_encrypted {
            let version = field.spec.version();
            match is_new {
                true => self.say(
                    LockLevel::Breaks,
                    name,
                    format!(
                        "is encrypted now, and refuses the unencrypted values of version {former} \
                         that live sessions hold. Write `encrypt(since = {version})`."
                    ),
                ),
                false => self.say(
                    LockLevel::Warning,
                    name,
                    format!(
                        "refuses unencrypted values of version {former} now. Accept the change \
                         only after all sessions that hold such a value have ended."
                    ),
                ),
            }
        }
        let is_bridge = field.writes() == Some(former);
        let keeps_keys = || kept.iter().all(|sample| (field.keeps_principal)(sample));
        if locked.is_index && field.spec.is_index() && !keeps_keys() {
            self.say(
                LockLevel::Breaks,
                name,
                format!(
                    "is not indexed by the same values as version {former}: live sessions would \
                     not be found. The conversion back to version {former} has to return the \
                     former value."
                ),
            );
        }
        if locked.is_principal && !keeps_keys() {
            self.say(
                LockLevel::Breaks,
                name,
                format!(
                    "does not name the same principals as version {former}: existing sessions \
                     could not be listed by user, or ended by `revoke_all`. The conversion back \
                     to version {former} has to return the former value."
                ),
            );
        }
        if is_bridge && is_last && field.writes_itself && field.fingerprint != locked.fingerprint {
            self.bridge_of_itself(field, locked);
        }
        let is_exact = || kept.iter().all(|sample| (field.migrates_exactly)(sample));
        if (is_new || is_bridge) && is_last && !is_exact() {
            let was = text(&locked.shape);
            match is_bridge {
                true => self.say(
                    LockLevel::Breaks,
                    name,
                    format!(
                        "writes version {former} with a type that version {former} did not have: \
                         instances of the previous release may not read it.\n    Was {was}"
                    ),
                ),
                false => self.say(
                    LockLevel::Warning,
                    name,
                    format!(
                        "migrates version {former} from a type that version {former} did not \
                         have: parts of its values may be lost.\n    Was {was}"
                    ),
                ),
            }
        }
    }

    /// Checks whether the previous release reads the values that a bridge release writes in the field's own
    /// type.
    fn bridge_of_itself(&mut self, field: &Described, locked: &LockedType) {
        let (name, former) = (field.spec.name(), locked.version);
        let (always, some) = match field.codec {
            Codec::Bincode => (vec![POSITIONAL.to_owned()], Vec::new()),
            Codec::MessagePack => (
                always_unreadable(&field.shape, &locked.shape),
                [unreadable(&field.shape, &locked.shape), left_out(field, &locked.shape)].concat(),
            ),
        };
        if !always.is_empty() {
            self.say(
                LockLevel::Breaks,
                name,
                format!(
                    "writes version {former} as its own type, which instances of the previous release cannot \
                     read:{}\n    Name the former type in `migrate({former} => ..)`.",
                    list(&always)
                ),
            );
        } else if !some.is_empty() {
            self.say(
                LockLevel::Warning,
                name,
                format!(
                    "writes version {former} as its own type, and instances of the previous release do not read \
                     every value:{}\n    Do not write such a value before `writes` is removed.",
                    list(&some)
                ),
            );
        }
    }

    fn same_version(&mut self, field: &Described, current: &LockedType, locked: &[&LockedType]) {
        let (spec, name) = (field.spec, field.spec.name());
        let (former, next) = (spec.version(), spec.version().saturating_add(1));
        let has_samples = field.own_samples.iter().all(|sample| current.samples.contains(sample));
        let own_json = field.own_json.iter().filter(|_| has_samples);
        let mut json = field.json.iter().chain(own_json);
        let is_key =
            (spec.is_principal() && current.is_principal) || (spec.is_index() && current.is_index);
        if is_key && !json.all(|json| current.json.contains(json)) {
            let by = if spec.is_principal() { "their user" } else { "this value" };
            let before = current.json.first().map_or("nothing", String::as_str);
            let now = field.json.first().map_or("nothing", String::as_str);
            self.say(
                LockLevel::Breaks,
                name,
                format!(
                    "has different JSON ({before} before, {now} now): existing sessions could not \
                     be found by {by}, or ended by `revoke_all`. Keep the JSON, or make it version \
                     {next} with `migrate`."
                ),
            );
        }
        if field.writes() != current.writes {
            self.say(
                LockLevel::Stale,
                name,
                format!(
                    "writes version {} from now on, which instances of the previous release read.",
                    spec.written_version()
                ),
            );
        }
        let is_encrypted = spec.encrypts(spec.version());
        if is_encrypted && !current.is_encrypted {
            self.say(
                LockLevel::Breaks,
                name,
                format!(
                    "is encrypted now, and refuses the unencrypted values of live sessions. Write \
                 `version = {next}, encrypt(since = {next}), migrate({former} => ..)`."
                ),
            );
        }
        if !is_encrypted && current.is_encrypted {
            self.say(
                LockLevel::Breaks,
                name,
                format!(
                    "is no longer encrypted, and instances of the previous release refuse \
                     unencrypted values, during the deploy and after a rollback. Write \
                     `version = {next}, migrate({former} => ..)`: they then answer 503 for this \
                     field."
                ),
            );
        }
        // A bridge release does not write values in the version of the field.
        if locked.iter().all(|of| of.is_unwritten) && field.shape != current.shape {
            self.say(LockLevel::Stale, name, "has changed, and no release has written it yet.");
            return;
        }
        if let Some(reasons) = locked.iter().rev().find_map(|of| unread(field, of)) {
            return self.say(
                LockLevel::Breaks,
                name,
                format!(
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
                self.say(
                    LockLevel::Stale,
                    name,
                    "has a different fingerprint in this release of ruts.",
                );
            }
            if !has_samples {
                self.say(LockLevel::Stale, name, "has a sample that the lock lacks.");
            }
            return;
        }
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
            true if !dropped.is_empty() => self.say(
                LockLevel::Warning,
                name,
                format!(
                    "reads what live sessions hold, but drops the values of fields that were probably \
                     renamed:{}\n    To keep them, write `#[serde(rename = \"..\")]` with the former \
                     name.",
                    list(&dropped)
                ),
            ),
            true if !hidden.is_empty() => self.say(
                LockLevel::Warning,
                name,
                format!(
                    "has fields with a different name, which instances of the previous release \
                     read as absent:{}\n    If these instances set the fields, this release cannot read \
                     the value, because the value has both names. Write `#[serde(rename = \"..\")]` with \
                     the former name instead of an alias.",
                    list(&hidden)
                ),
            ),
            true if !field.has_values => self.say(
                LockLevel::Warning,
                name,
                "has changed, and ruts has no value that shows which fields of the type may be missing. Both \
                 releases read both types only if each added or removed field has a default. Add a value: \
                 `LockTest::sample`.",
            ),
            true => self.say(LockLevel::Stale, name, "has changed: both releases read both types."),
            false => self.say(LockLevel::Breaks, name, format!(
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

    /// Reports a new field that is also a field of a different section of the lock.
    fn field_of_section(
        &mut self,
        schema: &SessionSchema,
        field: &Described,
        section: &str,
        locked: &LockedType,
    ) {
        let (own, name) = (schema.name(), field.spec.name());
        let is_same = locked.version == field.spec.version()
            && locked.fingerprint == field.fingerprint
            && locked.is_principal == field.spec.is_principal();
        match is_same {
            true => self.say(LockLevel::Stale, name, format!("is also a field of [{section}].")),
            false => self.say(
                LockLevel::Warning,
                name,
                format!(
                    "is new here, but [{section}] has a field of this name with a different declaration. If \
                     `{own}` is the new name of `{section}`, first rename that section of the lock to [{own}]. \
                     If the field has moved, first move its lines. Then this test compares the types."
                ),
            ),
        }
    }

    fn new_field(
        &mut self,
        schema: &SessionSchema,
        field: &Described,
        locked: &[LockedType],
        fields: &[Described],
    ) {
        let name = field.spec.name();
        let is_gone = |of: &&LockedType| fields.iter().all(|field| field.spec.name() != of.name);
        match locked.iter().filter(is_gone).find(|of| of.shape == field.shape) {
            Some(twin) if schema.has_prefix_of(&twin.name) => self.say(
                LockLevel::Breaks,
                name,
                format!(
                    "is new and has the shape of `{}`, which is gone. If it is the same field: \
                 write `#[field(rename = \"{former}\")]` on `{}`, and sessions keep it. If not: \
                 `#[session(retired(\"{former}\"))]`.",
                    twin.name,
                    schema.attribute_name(name),
                    former = schema.attribute_name(&twin.name),
                ),
            ),
            _ if field.shape.has(&|part| *part == Shape::Leaf("unknown")) => self.say(
                LockLevel::Warning,
                name,
                "is new, and ruts does not find every part of its type: in a tuple or a map, it does not find a part \
                 after a part that accepts no sample value, and in an enum with a tag next to its content, it does \
                 not find every content. A later comparison notices a change of such a part only by a sample: add \
                 one with `LockTest::sample`.",
            ),
            _ if field.own_samples.is_empty() && field.shape.has(&|part| *part == Shape::Leaf("any")) => {
                self.say(
                    LockLevel::Warning,
                    name,
                    "is new, and ruts does not see the parts of its type inside of `tag`, `untagged`, `flatten` or a \
                     JSON value. A later comparison notices a change of such a part only by a sample: add one for \
                     each variant with `LockTest::sample`.",
                );
            }
            _ => self.say(LockLevel::Stale, name, "is new."),
        }
    }

    fn gone(&mut self, schema: &SessionSchema, locked: &[LockedType], fields: &[Described]) {
        let mut names: Vec<&str> = locked.iter().map(|of| of.name.as_str()).collect();
        names.dedup();
        for name in names {
            let is_new = |field: &&Described| locked.iter().all(|of| of.name != field.spec.name());
            let mut shapes = locked.iter().filter(|of| of.name == name).map(|of| &of.shape);
            // `new_field` reports a field that was renamed.
            let is_renamed =
                shapes.any(|shape| fields.iter().filter(is_new).any(|field| field.shape == *shape));
            if fields.iter().any(|field| field.spec.name() == name) {
                continue;
            }
            if !schema.has_prefix_of(name) {
                self.say(
                    LockLevel::Breaks,
                    name,
                    "is gone, because the struct has a different prefix now: live sessions hold the fields of the \
                     former prefix. Write the former prefix again. To give these values up, remove their lines \
                     from the lock.",
                );
            } else if !is_renamed {
                self.say(
                    LockLevel::Breaks,
                    name,
                    format!(
                        "is gone, and live sessions hold it. If it was removed: \
                     `#[session(retired(\"{former}\"))]`. If it was renamed: \
                     `#[field(rename = \"{former}\")]` on the new field. If it has moved to a different struct: \
                     move its lines to the section of that struct.",
                        former = schema.attribute_name(name),
                    ),
                );
            }
        }
    }
}

const POSITIONAL: &str = "the value: its layout has changed, and bincode reads by position";

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
    let is_read = |sample: &bytes::Bytes| matches!((field.read)(sample), Ok(true));
    if reasons.is_empty() && !locked.samples.iter().all(is_read) {
        reasons.push("the value: a value that the former type accepts is refused".to_owned());
    }
    (!reasons.is_empty()).then_some(reasons)
}

/// Returns a section of a different schema that has a field of this name, and the last type of that field.
fn in_other_section<'l>(
    sections: &'l BTreeMap<String, LockedSchema>,
    schema: &SessionSchema,
    field: &Described,
) -> Option<(&'l str, &'l LockedType)> {
    let is_field = |of: &&LockedType| of.name == field.spec.name();
    let mut others = sections.iter().filter(|(section, _)| *section != schema.name());
    others.find_map(|(section, locked)| {
        Some((section.as_str(), locked.types.iter().rev().find(is_field)?))
    })
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
