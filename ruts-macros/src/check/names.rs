//! Checks the names that two fields must not share: generated items and stored names.
//!
//! Called by `session`, once for each field. Does not know the content of the items.

use std::collections::HashMap;

use proc_macro2::Ident;
use syn::{LitStr, ext::IdentExt};

use crate::{diagnostics::Diagnostics, model::Field};

/// Names of the handle's own items, each with its purpose, which the message shows.
const RESERVED: [(&str, &str); 8] = [
    ("session", "it returns the untyped session"),
    ("load", "it reads all fields"),
    ("sessions", "it lists and ends the sessions of a principal"),
    ("edit", "it writes several fields"),
    ("schema", "its key would be `SCHEMA`"),
    ("clone", "it copies the handle"),
    ("commit", "it writes an edit"),
    ("from_extensions", "it takes the session out of a request"),
];

/// More reserved names, for a session with a principal.
const RESERVED_WITH_A_PRINCIPAL: [(&str, &str); 5] = [
    ("assurance", "it sets the assurance of a sign-in by an edit"),
    ("keep_fields", "it keeps the fields of another principal at a sign-in by an edit"),
    ("remember", "it remembers a sign-in by an edit"),
    ("until_browser_closes", "it lets the cookie of a sign-in by an edit end with the browser"),
    ("stamp", "it keeps the stamp of the user at a sign-in by an edit"),
];

/// The reserved names, the names in use (each with the field that uses it) and the retired stored
/// names.
pub(super) struct Names {
    reserved: Vec<(&'static str, &'static str)>,
    items: HashMap<String, Ident>,
    stored: HashMap<String, Ident>,
    retired: Vec<String>,
    prefix: String,
}

impl Names {
    /// Creates the names of a session. `prefix` comes before each stored name. `retired` are the
    /// stored names of its former fields.
    pub(super) fn new(has_principal: bool, prefix: &str, retired: &[LitStr]) -> Self {
        let mut reserved = RESERVED.to_vec();
        if has_principal {
            reserved.extend(RESERVED_WITH_A_PRINCIPAL);
        }
        let retired = retired.iter().map(|name| format!("{prefix}{}", name.value())).collect();
        let (items, stored) = (HashMap::new(), HashMap::new());
        Self { reserved, items, stored, retired, prefix: prefix.to_owned() }
    }

    /// Returns the stored names of former fields.
    pub(super) fn into_retired(self) -> Vec<String> {
        self.retired
    }

    /// Reports a name that repeats the prefix.
    pub(super) fn check_prefix(&self, name: &LitStr, diagnostics: &mut Diagnostics) {
        let text = name.value();
        let rest = text.strip_prefix(&self.prefix).filter(|_| !self.prefix.is_empty());
        if let Some(rest) = rest {
            let message = format!(
                "the prefix comes before each stored name, so this one would be \"{}{text}\"; write \
                 \"{rest}\"",
                self.prefix
            );
            diagnostics.at(name, message);
        }
    }

    /// Reserves the names of a field and reports conflicts. Returns whether there was no conflict.
    pub(super) fn reserve(
        &mut self,
        rename: Option<&LitStr>,
        field: &Field,
        diagnostics: &mut Diagnostics,
    ) -> bool {
        let name = &field.name;
        let bare = name.unraw().to_string();
        if let Some((_, purpose)) = self.reserved.iter().find(|(name, _)| *name == bare) {
            let message = format!(
                "`{bare}` is reserved: {purpose}; choose another name and keep the stored one with \
                 `rename = \"{bare}\"`"
            );
            diagnostics.at(name, message);
            return false;
        }
        if field.key == bare {
            let message = format!(
                "`{bare}` would name both the accessor and the key; choose another name and keep \
                 the stored one with `rename = \"{bare}\"`"
            );
            diagnostics.at(name, message);
            return false;
        }
        let items = [
            format!("{bare}()"),
            format!("{}()", field.setter),
            format!("edit().{bare}()"),
            format!("edit().{}()", field.remover),
            field.key.to_string(),
        ];
        let mut conflict = None;
        for item in items {
            if let Some(other) = self.items.insert(item.clone(), name.clone()) {
                conflict.get_or_insert((item, other));
            }
        }
        if let Some((item, other)) = conflict {
            let message = match other.unraw() == name.unraw() {
                true => {
                    format!("two fields are named `{bare}`; choose another name for one of them")
                }
                false => format!(
                    "`{bare}` and `{other}` would both generate `{item}`; choose another name \
                     for one of them"
                ),
            };
            diagnostics.at(name, message);
            return false;
        }
        if let Some(rename) = rename {
            self.check_prefix(rename, diagnostics);
        }
        self.reserve_stored(rename, field, diagnostics)
    }

    fn reserve_stored(
        &mut self,
        rename: Option<&LitStr>,
        field: &Field,
        diagnostics: &mut Diagnostics,
    ) -> bool {
        let name = &field.name;
        let mut report = |message: String| match rename {
            Some(rename) => diagnostics.at(rename, message),
            None => diagnostics.at(name, message),
        };
        let stored = &field.stored_name;
        if rename.is_some_and(|rename| rename.value().is_empty())
            || stored.len() > 128
            || stored.starts_with('~')
        {
            report(
                "a stored name has 1 to 128 bytes, prefix included, and does not begin with `~`, \
                 which is reserved for stores"
                    .to_owned(),
            );
            return false;
        }
        if self.retired.contains(stored) {
            report(format!(
                "the stored name \"{stored}\" is retired: live sessions may hold it with another \
                 meaning; choose another name"
            ));
            return false;
        }
        if let Some(other) = self.stored.insert(stored.clone(), name.clone()) {
            report(format!(
                "`{other}` is stored as \"{stored}\" already; one would overwrite the other"
            ));
            return false;
        }
        true
    }
}
