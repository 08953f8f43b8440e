//! [`Shape`]: the structure of a type, as data.
//!
//! Made by `walk` from a finished tree, and by `text` from a lock. Written and compared by the lock
//! of `testing`.

/// The structure of a type, as serde sees it. Names of types and newtypes are not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A value without parts: `u32`, `str`, `bytes`, `unit`. The word is `any` for a value that
    /// needs a self-describing format, and `unknown` for a value that the tracer has not reached.
    Leaf(&'static str),
    Option(Box<Shape>),
    Seq(Box<Shape>),
    Map(Box<(Shape, Shape)>),
    Tuple(Vec<Shape>),
    Struct {
        fields: Vec<Part>,
        /// All names, while it is not known which of them are aliases. Empty otherwise.
        loose: Vec<String>,
        /// The type refuses unknown fields.
        is_closed: bool,
    },
    Enum {
        variants: Vec<Part>,
        loose: Vec<String>,
        /// A variant accepts all unknown names: `#[serde(other)]`.
        has_other: bool,
    },
    /// A type with two forms, such as a UUID: text in MessagePack, and this shape in bincode.
    TwoForms(Box<Shape>),
    /// An enclosing struct or enum, this many levels up.
    Recursion(usize),
}

/// A field or a variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// Other names under which the part is read.
    pub(crate) aliases: Vec<String>,
    /// The field may be missing.
    pub(crate) is_optional: bool,
    pub(crate) shape: Shape,
}

impl Shape {
    /// The words that name values without parts in a lock.
    pub(crate) const LEAVES: [&'static str; 19] = [
        "unit", "bool", "char", "str", "bytes", "u8", "u16", "u32", "u64", "u128", "i8", "i16",
        "i32", "i64", "i128", "f32", "f64", "any", "unknown",
    ];
}

#[cfg(feature = "testing")]
impl Shape {
    /// Clears the names that may be aliases, because no value has shown which of them are aliases.
    pub(crate) fn forget_loose(&mut self) {
        self.for_each_part(&mut |shape| {
            if let Self::Struct { loose, .. } | Self::Enum { loose, .. } = shape {
                loose.clear();
            }
        });
    }

    /// Assumes that all fields may be missing, because no value has shown which of them may be
    /// missing.
    pub(crate) fn assume_optional(&mut self) {
        self.for_each_part(&mut |shape| {
            if let Self::Struct { fields, .. } = shape {
                fields.iter_mut().for_each(|field| field.is_optional = true);
            }
        });
    }

    /// Calls `change` for this shape and each part of it.
    fn for_each_part(&mut self, change: &mut dyn FnMut(&mut Self)) {
        change(self);
        match self {
            Self::Leaf(_) | Self::Recursion(_) => {}
            Self::Option(inner) | Self::Seq(inner) | Self::TwoForms(inner) => {
                inner.for_each_part(change);
            }
            Self::Map(entry) => {
                entry.0.for_each_part(change);
                entry.1.for_each_part(change);
            }
            Self::Tuple(parts) => parts.iter_mut().for_each(|part| part.for_each_part(change)),
            Self::Struct { fields: parts, .. } | Self::Enum { variants: parts, .. } => {
                parts.iter_mut().for_each(|part| part.shape.for_each_part(change));
            }
        }
    }

    /// Returns whether `is_wanted` holds for this shape or a part of it.
    pub(crate) fn has(&self, is_wanted: &dyn Fn(&Self) -> bool) -> bool {
        is_wanted(self)
            || match self {
                Self::Leaf(_) | Self::Recursion(_) => false,
                Self::Option(inner) | Self::Seq(inner) | Self::TwoForms(inner) => {
                    inner.has(is_wanted)
                }
                Self::Map(entry) => entry.0.has(is_wanted) || entry.1.has(is_wanted),
                Self::Tuple(parts) => parts.iter().any(|part| part.has(is_wanted)),
                Self::Struct { fields: parts, .. } | Self::Enum { variants: parts, .. } => {
                    parts.iter().any(|part| part.shape.has(is_wanted))
                }
            }
    }
}

#[cfg(feature = "testing")]
impl Part {
    /// Returns whether the part is read under `name`.
    pub(crate) fn is_read_as(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}
