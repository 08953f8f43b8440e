//! [`Tree`]: the structure of a type, as far as its passes have found it.
//!
//! Filled by `passes`, and read by `walk` and `part`. Not generic, so it is compiled only once.

use std::cell::Cell;

/// Place of a node in the tree.
pub(super) type NodeId = usize;

/// Maximum nesting depth of a type.
pub(super) const MAX_DEPTH: usize = 128;

/// A value without parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    Unit,
    Bool,
    Char,
    Text,
    Bytes,
    /// A number, by its name in Rust.
    Number(&'static str),
}

/// The kind of value that a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not requested yet.
    Unknown,
    Leaf(Leaf),
    Newtype,
    Option,
    Seq,
    Map,
    Tuple,
    Struct,
    Enum,
    /// A type inside itself, with the node of the enclosing value.
    Recursion(NodeId),
    /// A value that needs a self-describing format.
    SelfDescribing,
    /// The tag next to the content of an enum, whose number of variants is not known. The kind of
    /// the content depends on the tag.
    Tag,
}

/// The reason why an option, a list or a map has stayed empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    /// It has a part, does not accept one, or is nested too deeply.
    Never,
    /// It is inside a recursion. Outside, a later pass gives it a part.
    InRecursion,
    /// It is inside a value of its own type. That value has its parts.
    InItself,
}

pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) parent: NodeId,
    pub(super) children: Vec<NodeId>,
    /// Name of the Rust type, which identifies recursion. Empty for values without parts, newtypes,
    /// tuples and struct variants.
    pub(super) type_name: &'static str,
    /// Names of fields or variants.
    pub(super) names: &'static [&'static str],
    /// Index of the value to try.
    pub(super) choice: u8,
    /// The node, or a node inside it, accepted none of the values to try.
    pub(super) is_rejected: bool,
    /// A value was accepted.
    pub(super) is_accepted: bool,
    /// A part of the struct is rejected. The other parts are visited by name, because a visit by
    /// position ends at that part.
    pub(super) is_by_name: bool,
    /// Number of further passes over the struct that may fail because of a rejected part.
    pub(super) passes: u8,
    /// The name of this part is an alias of another part.
    pub(super) is_alias: bool,
    /// The passes have requested different kinds of values here, because the kind depends on
    /// another value.
    pub(super) varies: bool,
    pub(super) empty: Empty,
    /// The variant was accepted outside of recursions, so that a sample shows it.
    pub(super) has_sample: bool,
    /// Every part was requested. The result is kept, because each pass needs it at every enum.
    pub(super) is_complete: Cell<bool>,
    /// Number of parts of a tuple.
    pub(super) len: usize,
    /// The type has two forms, of which the node shows the compact one: the type has asked whether
    /// the format is human-readable.
    pub(super) has_forms: Cell<bool>,
}

impl Leaf {
    /// Returns the name of the kind.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Bool => "bool",
            Self::Char => "char",
            Self::Text => "str",
            Self::Bytes => "bytes",
            Self::Number(name) => name,
        }
    }
}

/// A type, as far as it is known.
pub(crate) struct Tree {
    pub(super) nodes: Vec<Node>,
}

impl Tree {
    pub(super) const ROOT: NodeId = 0;

    #[inline(never)]
    pub(super) fn new() -> Self {
        let mut tree = Self { nodes: Vec::new() };
        tree.add(Self::ROOT);
        tree
    }

    fn add(&mut self, parent: NodeId) -> NodeId {
        self.nodes.push(Node {
            kind: Kind::Unknown,
            parent,
            children: Vec::new(),
            type_name: "",
            names: &[],
            choice: 0,
            is_rejected: false,
            is_accepted: false,
            is_by_name: false,
            passes: u8::MAX,
            is_alias: false,
            varies: false,
            empty: Empty::Never,
            has_sample: false,
            is_complete: Cell::new(false),
            len: 0,
            has_forms: Cell::new(false),
        });
        self.nodes.len() - 1
    }

    /// Returns the node of a part, and adds it if necessary.
    #[inline(never)]
    pub(super) fn child(&mut self, node: NodeId, at: usize) -> NodeId {
        while self.nodes[node].children.len() <= at {
            let child = self.add(node);
            self.nodes[node].children.push(child);
            self.reopen(node);
        }
        self.nodes[node].children[at]
    }

    /// Records that a node has a part that was not requested yet.
    pub(super) fn reopen(&self, mut node: NodeId) {
        while self.nodes[node].is_complete.replace(false) {
            node = self.nodes[node].parent;
        }
    }

    /// Records the kind of a node.
    pub(super) fn set_kind(&mut self, node: NodeId, kind: Kind) {
        let node = &mut self.nodes[node];
        node.varies |= node.kind != Kind::Unknown && node.kind != kind;
        node.kind = kind;
    }

    /// Returns the value of this type that encloses a node.
    pub(super) fn enclosing(
        &self,
        mut node: NodeId,
        kind: Kind,
        type_name: &str,
    ) -> Option<NodeId> {
        while node != Self::ROOT {
            node = self.nodes[node].parent;
            let outer = &self.nodes[node];
            if outer.kind == kind && outer.type_name == type_name {
                return Some(node);
            }
        }
        None
    }

    /// Returns the node that stands for the value of a node. For a newtype or an option, this is
    /// its part. For a value inside a value of its own type, this is the enclosing value.
    #[cfg(feature = "messagepack")]
    pub(super) fn resolve(&self, mut node: NodeId) -> NodeId {
        // A newtype may lead to itself.
        for _ in 0..MAX_DEPTH {
            let Node { kind, children, empty, type_name, .. } = &self.nodes[node];
            node = match *kind {
                Kind::Newtype | Kind::Option if !children.is_empty() => children[0],
                Kind::Recursion(to) => to,
                kind if *empty == Empty::InItself => {
                    self.enclosing(node, kind, type_name).unwrap_or(node)
                }
                _ => return node,
            };
        }
        node
    }

    /// Returns the kind of a node. `None` if its structure is not known.
    #[cfg(feature = "messagepack")]
    pub(super) fn kind(&self, node: NodeId) -> Option<Kind> {
        let Node { kind, varies, .. } = self.nodes[node];
        let is_known = !varies && !matches!(kind, Kind::Unknown | Kind::SelfDescribing | Kind::Tag);
        is_known.then_some(kind)
    }

    /// Returns the names of the fields or variants of a node, with aliases.
    #[cfg(feature = "messagepack")]
    pub(super) fn names(&self, node: NodeId) -> &'static [&'static str] {
        self.nodes[node].names
    }

    #[cfg(feature = "messagepack")]
    pub(super) fn part(&self, node: NodeId, at: usize) -> Option<NodeId> {
        self.nodes[node].children.get(at).copied()
    }

    /// Returns the parts that were requested.
    #[cfg(feature = "messagepack")]
    pub(super) fn all_parts(&self) -> impl Iterator<Item = NodeId> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].kind != Kind::Unknown)
    }

    /// Returns whether a struct or an enum has more names than parts, so that some names are
    /// aliases.
    #[cfg(feature = "messagepack")]
    pub(super) fn has_aliases(&self, node: NodeId) -> bool {
        let Node { children, names, .. } = &self.nodes[node];
        children.iter().filter(|&&child| self.stands_for_a_part(node, child)).count() != names.len()
    }

    /// Returns whether a child is a field or a variant. The names of an enum include aliases. So
    /// there are more names than variants, and the last children do not stand for variants.
    #[cfg(any(feature = "messagepack", feature = "testing"))]
    pub(super) fn stands_for_a_part(&self, node: NodeId, child: NodeId) -> bool {
        let Node { kind, is_rejected, is_alias, .. } = self.nodes[child];
        let is_beyond = self.nodes[node].kind == Kind::Enum && is_rejected && kind == Kind::Unknown;
        !is_alias && !is_beyond
    }

    /// Returns whether every part of a node was requested, even inside a rejected part, and no name
    /// is an alias.
    pub(super) fn is_known(&self, node: NodeId) -> bool {
        let Node { kind, children, names, .. } = &self.nodes[node];
        // A visit by position does not show which names are aliases of the same part.
        let has_aliases =
            matches!(kind, Kind::Struct | Kind::Enum) && children.len() != names.len();
        !has_aliases
            && self.has_its_parts(node)
            && children.iter().all(|&child| self.is_known(child))
    }

    /// Returns whether a part of a node was never requested, so that it may be of any type.
    #[cfg(feature = "messagepack")]
    pub(super) fn is_unreached(&self, node: NodeId) -> bool {
        let Node { kind, children, .. } = &self.nodes[node];
        // The last children of an enum with aliases do not stand for variants.
        let is_reached =
            |child: &&NodeId| *kind != Kind::Enum || self.nodes[**child].kind != Kind::Unknown;
        !self.has_its_parts(node)
            || children.iter().filter(is_reached).any(|&child| self.is_unreached(child))
    }

    /// Returns whether the kind of a node is known, and each of its parts was requested.
    pub(super) fn has_its_parts(&self, node: NodeId) -> bool {
        let Node { kind, children, len, varies, empty, is_rejected, .. } = &self.nodes[node];
        let is_recursive = *empty == Empty::InItself;
        !varies
            && !self.has_tag(node)
            && match kind {
                Kind::Unknown => false,
                Kind::Newtype => !children.is_empty(),
                Kind::Option => is_recursive || !children.is_empty(),
                // If a list accepts neither one element nor no elements, further elements may be of
                // different types.
                Kind::Seq => is_recursive || (!children.is_empty() && !is_rejected),
                Kind::Map => is_recursive || (children.len() == 2 && !is_rejected),
                Kind::Tuple => children.len() >= *len,
                _ => true,
            }
    }

    /// Returns whether the kind of the other parts of a struct depends on one of its parts.
    pub(super) fn has_tag(&self, node: NodeId) -> bool {
        let Node { kind, children, .. } = &self.nodes[node];
        *kind == Kind::Struct && children.iter().any(|&child| self.nodes[child].kind == Kind::Tag)
    }

    /// Returns the number of parts of a tuple that cannot be reached, because they come after a
    /// rejected one.
    pub(super) fn unreached(&self, node: NodeId) -> usize {
        let Node { kind, children, is_rejected, len, .. } = &self.nodes[node];
        match *kind == Kind::Tuple && *is_rejected {
            true => len.saturating_sub(children.len()),
            false => 0,
        }
    }

    /// Returns the enclosing value of the same type. `None` unless the node is an option, a list or
    /// a map that is empty because it is inside a value of its own type.
    pub(super) fn target(&self, node: NodeId) -> Option<NodeId> {
        let Node { kind, children, empty, type_name, .. } = &self.nodes[node];
        let is_in_itself = *empty == Empty::InItself && children.is_empty();
        is_in_itself.then(|| self.enclosing(node, *kind, type_name)).flatten()
    }

    /// Returns the number of values between a value and the enclosing value. Newtypes do not count,
    /// because they leave no trace in a payload.
    pub(super) fn distance(&self, mut node: NodeId, outer: NodeId) -> usize {
        let mut distance = 0;
        while node != outer && node != Self::ROOT {
            node = self.nodes[node].parent;
            distance += usize::from(self.nodes[node].kind != Kind::Newtype);
        }
        distance
    }
}
