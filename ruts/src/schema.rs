//! The fields of one `#[session]` struct, for tools and for fetching them together.

use crate::field::FieldSpec;

/// What `#[session]` knows of a struct: `Shop::SCHEMA`.
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
}

impl SessionSchema {
    /// A schema of that name with these fields.
    pub const fn new(name: &'static str, fields: &'static [FieldSpec]) -> Self {
        Self { name, fields }
    }

    /// The name of the struct.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// All fields, in the order of their declaration.
    pub const fn fields(&self) -> &'static [FieldSpec] {
        self.fields
    }

    /// The field with that stored name.
    pub fn field(&self, stored_name: &str) -> Option<&'static FieldSpec> {
        self.fields.iter().find(|field| field.name() == stored_name)
    }

    /// The fields that the first read of a request fetches together.
    pub(crate) fn eager(&self) -> impl Iterator<Item = &'static FieldSpec> {
        self.fields.iter().filter(|field| field.is_eager())
    }
}
