//! [`TypePart`]: a part of a type, for code that follows a payload from part to part.
//!
//! Used by the merge of an update. Reads a finished `tree`.

use super::tree::{Kind, NodeId, Tree};

/// A part of a type. Newtypes and options are left out, because they leave no trace in a payload.
#[derive(Clone, Copy)]
pub(crate) struct TypePart<'t> {
    tree: &'t Tree,
    /// `None` for one of several parts: the aliases do not show which one it is.
    node: Option<NodeId>,
    /// The type has no value that decides which other values belong together.
    is_plain: bool,
}

/// The kind of a part, as far as it decides which values belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartKind {
    Struct,
    /// A struct of a tag and a content that depends on the tag.
    Tagged,
    Enum,
    /// A map, a list, or a value without parts.
    Other,
    /// The structure is not known. The value may be an enum with a tag in it.
    Unknown,
}

impl<'t> TypePart<'t> {
    pub(crate) fn of(tree: &'t Tree) -> Self {
        let is_plain = !tree.is_unreached(Tree::ROOT)
            && tree.all_parts().all(|node| is_plain(Self::kind_of(tree, node)));
        Self { tree, node: Some(tree.resolve(Tree::ROOT)), is_plain }
    }

    fn at(self, node: NodeId) -> Self {
        Self { node: Some(self.tree.resolve(node)), ..self }
    }

    pub(crate) fn kind(self) -> PartKind {
        match self.node {
            Some(node) => Self::kind_of(self.tree, node),
            None => PartKind::Other,
        }
    }

    fn kind_of(tree: &Tree, node: NodeId) -> PartKind {
        let is_described = |at| tree.part(node, at).map(|part| tree.kind(part));
        match tree.kind(node) {
            None => PartKind::Unknown,
            Some(Kind::Struct) if tree.has_tag(node) => PartKind::Tagged,
            // An enum with `tag` and `content`, and with struct variants. serde reads its tag as an
            // enum.
            Some(Kind::Struct)
                if is_described(0) == Some(Some(Kind::Enum))
                    && is_described(1) == Some(None)
                    && tree.part(node, 2).is_none() =>
            {
                PartKind::Tagged
            }
            Some(Kind::Struct) => PartKind::Struct,
            Some(Kind::Enum) => PartKind::Enum,
            // A struct that writes the fields of a second struct in addition to its own.
            Some(Kind::Map) if is_described(0) == Some(None) => PartKind::Unknown,
            Some(_) => PartKind::Other,
        }
    }

    /// Returns whether a struct has a field that is read under this name.
    pub(crate) fn reads(self, name: &str) -> bool {
        self.node.is_some_and(|node| self.tree.names(node).contains(&name))
    }

    /// Returns the field or the variant with this name. `None` if its structure is not known.
    pub(crate) fn named(self, name: &str) -> Option<Self> {
        let Self { tree, node: Some(node), .. } = self else { return Some(self) };
        let at = tree.names(node).iter().position(|of| *of == name)?;
        match tree.has_aliases(node) {
            true => self.is_plain.then_some(Self { node: None, ..self }),
            false => tree.part(node, at).map(|part| self.at(part)),
        }
    }

    /// Returns the part at index `at` of a tuple. All elements of a list are the same part, so for
    /// a list `at` is ignored.
    pub(crate) fn element(self, at: usize) -> Option<Self> {
        let Self { tree, node: Some(node), .. } = self else { return Some(self) };
        let at = match tree.kind(node)? {
            Kind::Tuple => at,
            _ => 0,
        };
        tree.part(node, at).map(|part| self.at(part))
    }

    /// Returns the values of a map.
    pub(crate) fn value(self) -> Option<Self> {
        let Self { tree, node: Some(node), .. } = self else { return Some(self) };
        tree.part(node, 1).map(|part| self.at(part))
    }
}

fn is_plain(kind: PartKind) -> bool {
    matches!(kind, PartKind::Struct | PartKind::Enum | PartKind::Other)
}
