//! [`Walk`]: visits the parts of a [`Tree`], and returns the fingerprint or the shape of the type.
//!
//! Used by `tracer`. Not generic, so it is compiled only once.

#[cfg(feature = "testing")]
use super::structure::{Part, Shape};
use super::tree::{Kind, Node, NodeId, Tree};
use crate::codec::fingerprint::Fingerprint;

/// A walk over the parts of a type, and the values around the current part.
pub(super) struct Walk<'t> {
    tree: &'t Tree,
    /// Structs and enums around the part.
    named: Vec<NodeId>,
    /// The node that shows the parts of its target.
    expanded: Option<NodeId>,
    hash: Hash,
}

impl<'t> Walk<'t> {
    #[inline(never)]
    pub(super) fn new(tree: &'t Tree) -> Self {
        Self { tree, named: Vec::new(), expanded: None, hash: Hash(0xcbf2_9ce4_8422_2325) }
    }

    /// Returns the fingerprint: the hash, folded to 32 bits, and the flags.
    #[inline(never)]
    pub(super) fn fingerprint(mut self) -> Fingerprint {
        let tree = self.tree;
        self.write(Tree::ROOT);
        let has = |kind| tree.nodes.iter().any(|node| node.kind == kind);
        let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
        let flags = flag(!tree.is_known(Tree::ROOT), Fingerprint::PARTIAL)
            | flag(has(Kind::SelfDescribing) || has(Kind::Tag), Fingerprint::ANY);
        let Hash(hash) = self.hash;
        Fingerprint::new((hash ^ (hash >> 32)) as u32, flags)
    }

    /// Adds a node and its parts to the hash.
    fn write(&mut self, node: NodeId) {
        let tree = self.tree;
        let Node { kind, names, varies, has_forms, .. } = &tree.nodes[node];
        let recursion = match *kind {
            Kind::Recursion(to) => Some(self.levels_to(to).unwrap_or_default()),
            _ => self.levels_to(node),
        };
        if let Some(levels) = recursion {
            self.hash.put("recursion");
            return self.hash.put(&levels.to_string());
        }
        if has_forms.get() {
            self.hash.put("forms");
        }
        let begin = match *kind {
            _ if *varies => return self.hash.put("unknown"),
            Kind::Unknown | Kind::Recursion(_) => return self.hash.put("unknown"),
            Kind::SelfDescribing | Kind::Tag => return self.hash.put("any"),
            Kind::Leaf(leaf) => return self.hash.put(leaf.name()),
            Kind::Newtype => "",
            Kind::Option => "option",
            Kind::Seq => "seq",
            Kind::Map => "map",
            Kind::Tuple => "tuple",
            Kind::Struct => "struct",
            Kind::Enum => "enum",
        };
        if !begin.is_empty() {
            self.hash.put(begin);
        }
        if matches!(kind, Kind::Struct | Kind::Enum) {
            self.named.push(node);
            names.iter().for_each(|name| self.hash.put(name));
            self.hash.put(":");
        }
        let children = self.parts_in(node);
        if let Some(target) = tree.target(node).filter(|_| self.expanded != Some(node)) {
            self.hash.put("itself");
            self.hash.put(&tree.distance(node, target).to_string());
        }
        let has_tag = tree.has_tag(node);
        for &child in children.iter().filter(|&&child| !tree.nodes[child].is_alias) {
            match has_tag && tree.nodes[child].kind != Kind::Tag {
                true => self.hash.put("unknown"),
                false => self.write(child),
            }
        }
        (0..tree.unreached(node)).for_each(|_| self.hash.put("unknown"));
        self.leave(node);
        if !begin.is_empty() {
            self.hash.put(";");
        }
    }

    /// Returns the shape of the type.
    #[cfg(feature = "testing")]
    pub(super) fn shape(mut self) -> Shape {
        self.shape_of(Tree::ROOT)
    }

    #[cfg(feature = "testing")]
    fn shape_of(&mut self, node: NodeId) -> Shape {
        let shape = self.shape_of_form(node);
        match self.tree.nodes[node].has_forms.get() {
            true => Shape::TwoForms(Box::new(shape)),
            false => shape,
        }
    }

    #[cfg(feature = "testing")]
    fn shape_of_form(&mut self, node: NodeId) -> Shape {
        let tree = self.tree;
        let Node { kind, names, varies, .. } = &tree.nodes[node];
        if let Some(levels) = self.levels_to(node) {
            return Shape::Recursion(levels);
        }
        let is_named = matches!(kind, Kind::Struct | Kind::Enum);
        if is_named {
            self.named.push(node);
        }
        let children = self.parts_in(node);
        let has_tag = tree.has_tag(node);
        let mut parts: Vec<Shape> = Vec::with_capacity(children.len());
        for &child in children {
            if tree.stands_for_a_part(node, child) {
                let is_content = has_tag && tree.nodes[child].kind != Kind::Tag;
                parts.push(match is_content {
                    true => Shape::Leaf("unknown"),
                    false => self.shape_of(child),
                });
            }
        }
        parts.extend((0..tree.unreached(node)).map(|_| Shape::Leaf("unknown")));
        self.leave(node);
        let loose = match names.len() == parts.len() {
            true => Vec::new(),
            false => names.iter().map(|&name| name.to_owned()).collect(),
        };
        let mut parts = parts.into_iter();
        let mut part = || Box::new(parts.next().unwrap_or(Shape::Leaf("unknown")));
        if *varies {
            return Shape::Leaf("unknown");
        }
        match *kind {
            Kind::Unknown => Shape::Leaf("unknown"),
            Kind::SelfDescribing | Kind::Tag => Shape::Leaf("any"),
            Kind::Leaf(leaf) => Shape::Leaf(leaf.name()),
            Kind::Newtype => *part(),
            Kind::Option => Shape::Option(part()),
            Kind::Seq => Shape::Seq(part()),
            Kind::Map => Shape::Map(Box::new((*part(), *part()))),
            Kind::Tuple => Shape::Tuple(parts.collect()),
            Kind::Struct => Shape::Struct { fields: named(names, parts), loose, is_closed: false },
            Kind::Enum => Shape::Enum { variants: named(names, parts), loose, has_other: false },
            Kind::Recursion(to) => Shape::Recursion(self.levels_to(to).unwrap_or_default()),
        }
    }

    /// Returns the parts of a node. A node without parts of its own has the parts of its target,
    /// unless it is inside such a node. One level is enough to show which of the enclosing values
    /// the target is.
    fn parts_in(&mut self, node: NodeId) -> &'t [NodeId] {
        let tree = self.tree;
        match tree.target(node) {
            Some(target) if self.expanded.is_none() => {
                self.expanded = Some(node);
                &tree.nodes[target].children
            }
            _ => &tree.nodes[node].children,
        }
    }

    /// Returns the number of structs and enums between `node` and the part. `None` if `node` is not
    /// around the part.
    fn levels_to(&self, node: NodeId) -> Option<usize> {
        self.named.iter().rev().position(|&outer| outer == node)
    }

    fn leave(&mut self, node: NodeId) {
        self.named.pop_if(|outer| *outer == node);
        self.expanded.take_if(|expanded| *expanded == node);
    }
}

/// Gives names to fields or variants.
#[cfg(feature = "testing")]
fn named(names: &[&str], parts: impl Iterator<Item = Shape>) -> Vec<Part> {
    let part = |(name, shape): (&&str, Shape)| Part {
        name: (*name).to_owned(),
        aliases: Vec::new(),
        is_optional: false,
        shape,
    };
    names.iter().zip(parts).map(part).collect()
}

/// A hash by FNV-1a.
struct Hash(u64);

impl Hash {
    /// Adds a string, and a zero byte after it.
    fn put(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}
