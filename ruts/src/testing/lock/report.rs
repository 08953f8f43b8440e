//! [`LockReport`]: the differences between a build and its lock, and their effect on live sessions.
//!
//! Made by `file`. Compares the schemas, and leaves each field to `field_report`. Read by tests of
//! applications.

use std::{cmp::Reverse, collections::BTreeMap, fmt};

use super::{
    describe::Described,
    field_report::FieldReport,
    finding::{LockFinding, LockLevel},
    locked_schema::LockedSchema,
    locked_type::LockedType,
};
use crate::{codec::Shape, field::SessionSchema};

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
        self.findings.iter().any(|finding| finding.level() == LockLevel::Breaks)
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
            FieldReport::new(&mut report.findings, field).check(&of_field);
            if schema.retired.contains(field.spec.name()) {
                report.add(
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
                report.add(LockLevel::Stale, name, "is retired.");
            }
        }
        report.check_missing(declared, locked, fields);
        report.findings.sort_by_key(|finding| Reverse(finding.level()));
        report
    }

    fn add(&mut self, level: LockLevel, field: &str, text: impl Into<String>) {
        self.findings.push(LockFinding::new(level, field, text));
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
            true => self.add(LockLevel::Stale, name, format!("is also a field of [{section}].")),
            false => self.add(
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
            Some(twin) if schema.has_prefix_of(&twin.name) => self.add(
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
            _ if field.shape.has(&|part| *part == Shape::Leaf("unknown")) => self.add(
                LockLevel::Warning,
                name,
                "is new, and ruts does not find every part of its type: in a tuple or a map, it does not find a part \
                 after a part that accepts no sample value, and in an enum with a tag next to its content, it does \
                 not find every content. A later comparison notices a change of such a part only by a sample: add \
                 one with `LockTest::sample`.",
            ),
            _ if field.own_samples.is_empty() && field.shape.has(&|part| *part == Shape::Leaf("any")) => {
                self.add(
                    LockLevel::Warning,
                    name,
                    "is new, and ruts does not see the parts of its type inside of `tag`, `untagged`, `flatten` or a \
                     JSON value. A later comparison notices a change of such a part only by a sample: add one for \
                     each variant with `LockTest::sample`.",
                );
            }
            _ => self.add(LockLevel::Stale, name, "is new."),
        }
    }

    fn check_missing(
        &mut self,
        schema: &SessionSchema,
        locked: &[LockedType],
        fields: &[Described],
    ) {
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
                self.add(
                    LockLevel::Breaks,
                    name,
                    "is gone, because the struct has a different prefix now: live sessions hold the fields of the \
                     former prefix. Write the former prefix again. To give these values up, remove their lines \
                     from the lock.",
                );
            } else if !is_renamed {
                self.add(
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

/// Returns a section of a different schema that has a field of this name, and the last type of that
/// field.
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
