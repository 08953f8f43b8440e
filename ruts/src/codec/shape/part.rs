//! [`TypePart`]: a part of a type, for code that follows a payload from part to part.
//!
//! Used by the merge of an update. Reads a finished `tree`.

use super::tree::{Kind, NodeId, Tree};

/// A part of a type. Newtypes and options are left out, because they leave no trace in a payload.
#[derive(Clone, Copy)]
pub(crate) struct TypePart<'t> {
    tree: &'t Tree,
    node: NodeId,
}

/// The kind of a part, as far as it decides which values belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartKind {
    Struct,
    /// A struct of a tag and a content that depends on the tag.
    Tagged,
    /// A struct that writes the fields of another one beside its own.
    Flattened,
    Enum,
    /// A map, a list, or a value without parts.
    Other,
    /// The structure is not known. The value may be an enum with a tag in it.
    Unknown,
}

impl<'t> TypePart<'t> {
    pub(crate) fn of(tree: &'t Tree) -> Self {
        Self::at(tree, Tree::ROOT)
    }

    fn at(tree: &'t Tree, node: NodeId) -> Self {
        Self { tree, node: tree.resolve(node) }
    }

    pub(crate) fn kind(self) -> PartKind {
        let Self { tree, node } = self;
        let is_described = |at| tree.part(node, at).map(|part| tree.kind(part));
        match tree.kind(node) {
            None => PartKind::Unknown,
            Some(Kind::Struct) if tree.has_tag(node) => PartKind::Tagged,
            Some(Kind::Struct) => PartKind::Struct,
            Some(Kind::Enum) => PartKind::Enum,
            Some(Kind::Map) if is_described(0) == Some(None) => PartKind::Flattened,
            Some(_) => PartKind::Other,
        }
    }

    /// Returns whether a struct has a field that is read under this name.
    pub(crate) fn reads(self, name: &str) -> bool {
        self.tree.names(self.node).contains(&name)
    }

    /// Returns the field or the variant with this name. `None` if the structure is not known.
    pub(crate) fn named(self, name: &str) -> Option<Self> {
        let Self { tree, node } = self;
        let names = tree.names(node);
        let at = names.iter().position(|of| *of == name)?;
        // Otherwise some names are aliases, and it is not known which.
        let part = tree.part(node, at).filter(|_| tree.part_count(node) == names.len())?;
        Some(Self::at(tree, part))
    }

    /// Returns the part at this index of a tuple, or any element of a list.
    pub(crate) fn element(self, at: usize) -> Option<Self> {
        let Self { tree, node } = self;
        let at = match tree.kind(node)? {
            Kind::Tuple => at,
            _ => 0,
        };
        tree.part(node, at).map(|part| Self::at(tree, part))
    }

    /// Returns the values of a map.
    pub(crate) fn value(self) -> Option<Self> {
        let Self { tree, node } = self;
        tree.part(node, 1).map(|part| Self::at(tree, part))
    }
}
