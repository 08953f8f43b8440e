//! Checks the rules of a field's versions: `version`, `migrate`, `writes` and `encrypt(since)`.
//!
//! Called by `field`. Does not check whether types can be converted: the compiler does.

use syn::LitInt;

use super::option::inner_of_option;
use crate::{
    diagnostics::Diagnostics,
    model::Former,
    parse::{FieldArgs, RawField},
};

pub(super) struct Versions {
    pub(super) version: u16,
    pub(super) formers: Vec<Former>,
    pub(super) writes: Option<u16>,
    pub(super) encrypt: Option<u16>,
}

/// Checks the versions of a field. Returns placeholders for invalid versions, so that the rest
/// compiles.
pub(super) fn versions(raw: &RawField, diagnostics: &mut Diagnostics) -> Versions {
    let args = &raw.args;
    let version = version(args, diagnostics);
    let formers = formers(raw, version, diagnostics);
    let writes = writes(args, version, &formers, diagnostics);
    let encrypt = encrypt(args, version, diagnostics);
    Versions { version, formers, writes, encrypt }
}

fn version(args: &FieldArgs, diagnostics: &mut Diagnostics) -> u16 {
    let Some(literal) = args.version.get() else {
        return 1;
    };
    match number(literal) {
        Some(version) => version,
        None => {
            diagnostics.at(
                literal,
                "a version is a number from 1 to 65535; a field without one has version 1",
            );
            1
        }
    }
}

fn number(literal: &LitInt) -> Option<u16> {
    literal.base10_parse().ok().filter(|version| *version > 0)
}

fn formers(raw: &RawField, version: u16, diagnostics: &mut Diagnostics) -> Vec<Former> {
    let args = &raw.args;
    let mut formers: Vec<Former> = Vec::new();
    for former in args.migrate.get().into_iter().flatten() {
        let Some(number) = number(&former.version).filter(|number| *number < version) else {
            let message = match version {
                1 => "`migrate` is about former versions, and the field has version 1; write \
                      `version = 2` if its type has changed"
                    .to_owned(),
                _ => format!(
                    "`migrate` accepts only versions before {version}, the version of the field"
                ),
            };
            diagnostics.at(&former.version, message);
            continue;
        };
        if formers.last().is_some_and(|last| last.version >= number) {
            let message = "`migrate` names each version once, in ascending order, because each type \
                           is converted to the next one";
            diagnostics.at(&former.version, message);
            continue;
        }
        if former.ty.is_none() && args.principal.is_set() {
            let message = "the values of a principal field cannot be discarded: live sessions \
                           would stay signed in as an unknown user; name the former type, or end \
                           the sessions with `revoke_everyone` before the release";
            diagnostics.at(&former.target, message);
            continue;
        }
        // Like the field's own type, `Option<T>` stands for `T`.
        let ty = former.ty.as_ref().map(|ty| inner_of_option(ty).unwrap_or(ty).clone());
        formers.push(Former { version: number, ty });
    }
    // If `migrate` has another mistake, a version may seem to be missing although it is not.
    let is_complete = args.migrate.get().is_none_or(|migrate| migrate.len() == formers.len());
    let is_invalid = args.migrate.get().is_none() && args.migrate.is_given();
    if let Some(literal) = args.version.get().filter(|_| is_complete && !is_invalid) {
        let missing =
            (1..version).find(|number| !formers.iter().any(|former| former.version == *number));
        if let Some(missing) = missing {
            diagnostics.at(literal, missing_version(raw, missing));
        }
    }
    formers
}

fn missing_version(raw: &RawField, missing: u16) -> String {
    let name = &raw.name;
    let named = format!(
        "live sessions may hold a value of version {missing} of `{name}`; declare how to convert \
         it: `migrate({missing} => OldType)`, where the type of the next version implements \
         `From<OldType>` or `TryFrom<OldType>`"
    );
    match raw.args.principal.is_set() {
        true => named,
        false => {
            format!("{named}, or `migrate({missing} => discard)`, which makes it read as absent")
        }
    }
}

fn writes(
    args: &FieldArgs,
    version: u16,
    formers: &[Former],
    diagnostics: &mut Diagnostics,
) -> Option<u16> {
    let literal = args.writes.get()?;
    let Some(number) = number(literal).filter(|number| *number < version) else {
        let message = match version {
            1 => {
                "`writes` names a former version, and the field has version 1; remove it".to_owned()
            }
            _ => {
                format!("`writes` must be a version before {version}, the version of the field")
            }
        };
        diagnostics.at(literal, message);
        return None;
    };
    let former = formers.iter().find(|former| former.version == number);
    if former.is_some_and(|former| former.ty.is_some()) {
        return Some(number);
    }
    if args.migrate.is_set() {
        let message = format!(
            "`writes = {number}` needs the type of that version: `migrate({number} => OldType)`"
        );
        diagnostics.at(literal, message);
    }
    None
}

fn encrypt(args: &FieldArgs, version: u16, diagnostics: &mut Diagnostics) -> Option<u16> {
    let Some(literal) = args.encrypt.get()? else { return Some(1) };
    match number(literal).filter(|number| (2..=version).contains(number)) {
        Some(since) => Some(since),
        None => {
            let message = match version {
                1 => "`since` is the first version whose values are encrypted; values of earlier \
                      versions may be unencrypted: write `version = 2, encrypt(since = 2)`, or \
                      `encrypt` alone"
                    .to_owned(),
                _ => format!(
                    "`since` must be a version from 2 to {version}, the version of the field"
                ),
            };
            diagnostics.at(literal, message);
            None
        }
    }
}
