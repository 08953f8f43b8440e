//! [`SessionSchema`]: the fields of one `#[session]` struct.
//!
//! Used by the session, which reads eager fields together, and by the lock of `testing`. Knows
//! nothing about values or stores.

use super::spec::FieldSpec;

/// Description of a `#[session]` struct and its fields, such as `Shop::SCHEMA`.
///
/// ```
/// use ruts::session;
///
/// #[session]
/// struct Shop {
///     #[field(ttl = "7d", default)]
///     cart: Vec<String>,
///     #[field(lazy)]
///     draft: String,
/// }
///
/// assert_eq!(Shop::SCHEMA.name(), "Shop");
/// assert_eq!(Shop::SCHEMA.fields()[0].name(), "cart");
/// assert!(Shop::SCHEMA.field("draft").is_some_and(|field| field.is_lazy()));
/// ```
#[derive(Debug)]
pub struct SessionSchema {
    name: &'static str,
    fields: &'static [FieldSpec],
    prefix: &'static str,
    retired: &'static [&'static str],
}

impl SessionSchema {
    /// Creates a schema.
    pub const fn new(name: &'static str, fields: &'static [FieldSpec]) -> Self {
        Self { name, fields, prefix: "", retired: &[] }
    }

    /// Sets the stored names of former fields. No new field may have one of these names.
    #[must_use]
    pub const fn with_retired(mut self, names: &'static [&'static str]) -> Self {
        self.retired = names;
        self
    }

    /// Sets the beginning of all stored names, with its dot, such as `auth.`.
    #[must_use]
    pub const fn with_prefix(mut self, prefix: &'static str) -> Self {
        self.prefix = prefix;
        self
    }

    /// Returns a stored name without the prefix, as the attributes of the struct give it.
    pub fn attribute_name<'a>(&self, stored_name: &'a str) -> &'a str {
        stored_name.strip_prefix(self.prefix).unwrap_or(stored_name)
    }

    /// Returns whether a stored name begins with the prefix.
    #[cfg(feature = "testing")]
    pub(crate) fn has_prefix_of(&self, stored_name: &str) -> bool {
        stored_name.starts_with(self.prefix)
    }

    /// Returns the name of the struct.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns all fields, in the order of their declaration.
    pub const fn fields(&self) -> &'static [FieldSpec] {
        self.fields
    }

    /// Returns the field at an index.
    ///
    /// # Panics
    ///
    /// Panics if there is no field at the index.
    #[doc(hidden)]
    pub const fn field_at(&self, index: usize) -> &'static FieldSpec {
        &self.fields[index]
    }

    /// Returns the stored names of former fields.
    pub const fn retired(&self) -> &'static [&'static str] {
        self.retired
    }

    /// Returns the field with a stored name.
    pub fn field(&self, stored_name: &str) -> Option<&'static FieldSpec> {
        self.fields.iter().find(|field| field.name() == stored_name)
    }

    /// Returns the fields that the first read in a request fetches together.
    pub(crate) fn eager(&self) -> impl Iterator<Item = &'static FieldSpec> {
        self.fields.iter().filter(|field| field.is_eager())
    }
}
