//! [`Tree`]: the requests that a type has made to its deserializer so far.
//!
//! Filled by `tracer`, one pass at a time. Not generic, so it is compiled only once.

use std::{cell::Cell, collections::BTreeSet};

#[cfg(feature = "testing")]
use super::structure::{Part, Shape};
use crate::codec::fingerprint::Fingerprint;

/// Place of a node in the tree.
pub(super) type NodeId = usize;

/// Strings, numbers and lengths to try in turn, for types that accept only some values.
const TEXTS: [&str; 20] = [
    "",
    "a",
    "0",
    "00000000-0000-4000-8000-000000000000",
    "https://a.example/",
    "2001-02-03T04:05:06Z",
    "2001-02-03",
    "04:05:06",
    "2001-02-03T04:05:06",
    "127.0.0.1",
    "127.0.0.1:80",
    "127.0.0.0/8",
    "1.0.0",
    "en",
    "UTC",
    "USD",
    "a@b.example",
    "#000000",
    "/",
    "GET",
];
const NUMBERS: [u8; 4] = [1, 0, 2, 100];
const LENGTHS: [usize; 6] = [0, 16, 1, 32, 12, 4];

/// The first is the nesting depth from which options, lists and maps stay empty. The second is the
/// nesting depth that no type may exceed.
const FULL_DEPTH: usize = 48;
const MAX_DEPTH: usize = 128;

/// Maximum number of unreached parts that are recorded.
const MAX_UNKNOWN: usize = 64;

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
    /// The tag next to the content of an enum, whose number of variants is not known. The kind of the content
    /// depends on the tag.
    Tag,
}

/// The reason why an option, a list or a map has stayed empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Empty {
    /// It has a part, does not accept one, or is nested too deeply.
    Never,
    /// It is inside a recursion. Outside, a later pass gives it a part.
    InRecursion,
    /// It is inside a value of its own type, which has its parts.
    InItself,
}

struct Node {
    kind: Kind,
    parent: NodeId,
    children: Vec<NodeId>,
    /// Name of the Rust type, which identifies recursion. Empty for values without parts, newtypes,
    /// tuples and struct variants.
    type_name: &'static str,
    /// Names of fields or variants.
    names: &'static [&'static str],
    /// Index of the value to try.
    choice: u8,
    /// The node, or a node inside it, accepted none of the values to try.
    is_rejected: bool,
    /// A value was accepted.
    is_accepted: bool,
    /// A part of the struct is rejected. The other parts are visited by name, because a visit by position
    /// ends at that part.
    is_by_name: bool,
    /// Number of further passes over the struct that may fail because of a rejected part.
    passes: u8,
    /// The name of this part is an alias of another part.
    is_alias: bool,
    /// The passes have requested different kinds of values here, because the kind depends on another value.
    varies: bool,
    empty: Empty,
    /// The variant was accepted outside of recursions, so that a sample shows it.
    has_sample: bool,
    /// Every part was requested. The result is kept, because each pass needs it at every enum.
    is_complete: Cell<bool>,
    /// Number of parts of a tuple.
    len: usize,
}

/// How a sample differs from the values that the passes created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variation {
    None,
    /// Without optional values.
    #[cfg(feature = "testing")]
    Absent,
    /// With the numbers and strings that come this many places later in the lists. With 1: zero, and a string
    /// that is not empty.
    Other(u8),
    /// Without optional values, and with empty lists and maps.
    #[cfg(feature = "testing")]
    Smallest,
}

impl Variation {
    fn is_absent(self) -> bool {
        #[cfg(feature = "testing")]
        return self == Self::Absent;
        #[cfg(not(feature = "testing"))]
        false
    }

    fn is_smallest(self) -> bool {
        #[cfg(feature = "testing")]
        return self == Self::Smallest;
        #[cfg(not(feature = "testing"))]
        false
    }
}

/// A type, as far as it is known.
pub(crate) struct Tree {
    nodes: Vec<Node>,
    /// Structs and enums around the current node.
    path: Vec<NodeId>,
    /// The node whose value was chosen last. If the pass fails, this node gets a different value.
    last: NodeId,
    /// Number of structs and enums around the current node, from the first one inside its own type. If the
    /// number is above zero, values are as small as possible.
    recursion: usize,
    /// The part whose name was returned last, until its value is requested.
    named: Option<NodeId>,
    /// Nodes that were requested as a tag.
    tags: BTreeSet<NodeId>,
    variation: Variation,
}

impl Tree {
    pub(super) const ROOT: NodeId = 0;

    #[inline(never)]
    pub(super) fn new() -> Self {
        let mut tree = Self {
            nodes: Vec::new(),
            path: Vec::new(),
            last: Self::ROOT,
            recursion: 0,
            named: None,
            tags: BTreeSet::new(),
            variation: Variation::None,
        };
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

    /// Notes that a node has a part that was not requested yet.
    fn reopen(&self, mut node: NodeId) {
        while self.nodes[node].is_complete.replace(false) {
            node = self.nodes[node].parent;
        }
    }

    /// Records the kind of a node.
    fn set_kind(&mut self, node: NodeId, kind: Kind) {
        let node = &mut self.nodes[node];
        node.varies |= node.kind != Kind::Unknown && node.kind != kind;
        node.kind = kind;
    }

    /// Records a value without parts, and returns the index of the value to try.
    #[inline(never)]
    pub(super) fn leaf(&mut self, node: NodeId, leaf: Leaf) -> usize {
        self.last = node;
        self.set_kind(node, Kind::Leaf(leaf));
        let later = match self.variation {
            Variation::Other(later) => later,
            _ => 0,
        };
        usize::from(self.nodes[node].choice) + usize::from(later)
    }

    #[inline(never)]
    pub(super) fn number(&mut self, node: NodeId, name: &'static str) -> u8 {
        NUMBERS[self.leaf(node, Leaf::Number(name)) % NUMBERS.len()]
    }

    #[inline(never)]
    pub(super) fn text(&mut self, node: NodeId) -> &'static str {
        TEXTS[self.leaf(node, Leaf::Text) % TEXTS.len()]
    }

    #[inline(never)]
    pub(super) fn bytes(&mut self, node: NodeId) -> &'static [u8] {
        &[0; 32][..LENGTHS[self.leaf(node, Leaf::Bytes) % LENGTHS.len()]]
    }

    /// Records a value that needs a self-describing format, and returns the index of the value to
    /// try.
    #[inline(never)]
    pub(super) fn self_describing(&mut self, node: NodeId) -> u8 {
        self.last = node;
        self.set_kind(node, Kind::SelfDescribing);
        self.nodes[node].choice
    }

    /// Records a tag, and returns the index of the variant to try. Returns `None` for a key of a map.
    #[inline(never)]
    pub(super) fn tag(&mut self, node: NodeId) -> Option<u8> {
        if self.nodes[self.nodes[node].parent].kind == Kind::Map {
            return None;
        }
        self.last = node;
        self.set_kind(node, Kind::Tag);
        self.tags.insert(node);
        Some(self.nodes[node].choice)
    }

    /// Records the kind of a value that always has its parts.
    #[inline(never)]
    pub(super) fn wrap(&mut self, node: NodeId, kind: Kind) {
        self.set_kind(node, kind);
    }

    /// Records the kind of a value that may be empty, and returns whether to give it a part. A value inside
    /// a value of the same type gets none. Otherwise the passes over a type such as
    /// `struct Tree(Vec<Tree>)` would not end.
    #[inline(never)]
    pub(super) fn fill(&mut self, node: NodeId, kind: Kind, type_name: &'static str) -> bool {
        self.set_kind(node, kind);
        self.nodes[node].type_name = type_name;
        let empty = match self.recursion {
            _ if self.enclosing(node, kind, type_name).is_some() => Empty::InItself,
            0 => Empty::Never,
            _ => Empty::InRecursion,
        };
        let is_filled = empty == Empty::Never
            && self.path.len() < FULL_DEPTH
            && self.nodes[node].choice == 0
            && !(kind == Kind::Option && self.variation.is_absent());
        if !is_filled {
            self.last = node;
        }
        self.nodes[node].empty = empty;
        is_filled
    }

    /// Returns the value of this type that encloses a node.
    fn enclosing(&self, mut node: NodeId, kind: Kind, type_name: &str) -> Option<NodeId> {
        while node != Self::ROOT {
            node = self.nodes[node].parent;
            let outer = &self.nodes[node];
            if outer.kind == kind && outer.type_name == type_name {
                return Some(node);
            }
        }
        None
    }

    /// Enters a struct or an enum, and returns its node. Inside a value of the same type, this is the node
    /// of that value. `None` if the type is nested too deeply.
    #[inline(never)]
    pub(super) fn enter(
        &mut self,
        node: NodeId,
        kind: Kind,
        type_name: &'static str,
        names: &'static [&'static str],
    ) -> Option<NodeId> {
        if self.path.len() > MAX_DEPTH {
            return None;
        }
        let is_same = |outer: &&NodeId| {
            let Node { kind: outer_kind, type_name: outer_name, .. } = &self.nodes[**outer];
            **outer != node && *outer_name == type_name && *outer_kind == kind
        };
        let outer = self.path.iter().find(is_same).filter(|_| !type_name.is_empty()).copied();
        let entered = match outer {
            Some(outer) => {
                self.set_kind(node, Kind::Recursion(outer));
                outer
            }
            None => node,
        };
        if outer.is_some() || self.recursion > 0 {
            self.recursion += 1;
        }
        self.set_kind(entered, kind);
        let node = &mut self.nodes[entered];
        node.varies |= !node.names.is_empty() && node.names != names;
        (node.type_name, node.names) = (type_name, names);
        self.path.push(entered);
        Some(entered)
    }

    /// Returns whether the parts of a struct are visited by name.
    #[inline(never)]
    pub(super) fn is_by_name(&self, node: NodeId) -> bool {
        self.nodes[node].is_by_name
    }

    /// Returns the first part from `at` on that is not rejected, in a struct that is visited by name. If
    /// there is none, a rejected part becomes the last choice: if the struct fails, the reason is that this
    /// part is missing.
    #[inline(never)]
    pub(super) fn named_part(
        &mut self,
        node: NodeId,
        at: usize,
    ) -> Option<(usize, &'static str, NodeId)> {
        let names = self.nodes[node].names;
        for (at, name) in names.iter().enumerate().skip(at) {
            let child = self.child(node, at);
            if !self.nodes[child].is_rejected {
                self.named = Some(child);
                return Some((at, name, child));
            }
        }
        let rejected = |child: &&NodeId| {
            let Node { is_rejected, is_alias, .. } = self.nodes[**child];
            is_rejected && !is_alias
        };
        self.last = self.nodes[node].children.iter().find(rejected).copied().unwrap_or(node);
        None
    }

    /// Notes that the struct has accepted the name that was returned last, because it requests the value.
    #[inline(never)]
    pub(super) fn accept_name(&mut self) {
        self.named = None;
    }

    /// Records a tuple.
    #[inline(never)]
    pub(super) fn tuple(&mut self, node: NodeId, len: usize) {
        self.set_kind(node, Kind::Tuple);
        let (node, len) = (&mut self.nodes[node], len.min(MAX_UNKNOWN));
        node.varies |= !node.children.is_empty() && node.len != len;
        node.len = len;
    }

    /// Returns the number of parts of a tuple that cannot be reached, because they come after a rejected one.
    fn unreached(&self, node: NodeId) -> usize {
        let Node { kind, children, is_rejected, len, .. } = &self.nodes[node];
        match *kind == Kind::Tuple && *is_rejected {
            true => len.saturating_sub(children.len()),
            false => 0,
        }
    }

    /// Leaves a struct or an enum, which was entered at `node`.
    #[inline(never)]
    pub(super) fn leave(&mut self, node: NodeId, entered: NodeId, is_accepted: bool) {
        if !is_accepted && node != entered && self.nodes[entered].is_by_name {
            // If a struct has a rejected part, a value of the same type inside the struct fails, too. So a
            // list of such values stays empty.
            self.last = node;
        }
        let node = entered;
        self.nodes[node].is_accepted |= is_accepted;
        self.path.pop();
        self.recursion = self.recursion.saturating_sub(1);
    }

    /// Chooses a variant of an enum, and returns its number and its node. Prefers a variant with parts that
    /// were not requested yet, or without a sample. Inside a recursion, prefers a variant that ends the
    /// recursion, and then a variant that was not requested yet.
    #[inline(never)]
    pub(super) fn variant(&mut self, node: NodeId, count: usize) -> (u32, NodeId) {
        for at in 0..count {
            self.child(node, at);
        }
        let children = &self.nodes[node].children;
        let find =
            |is_wanted: &dyn Fn(NodeId) -> bool| (0..count).find(|&at| is_wanted(children[at]));
        let at = if self.recursion > 0 {
            find(&|child| self.nodes[child].is_accepted && self.ends_recursion(child))
                .or_else(|| find(&|child| self.nodes[child].kind == Kind::Unknown))
                .or_else(|| find(&|child| self.nodes[child].is_accepted))
                .unwrap_or(self.path.len() % count.max(1))
        } else {
            find(&|child| !self.is_sampled(child, 0))
                .or_else(|| find(&|child| !self.nodes[child].is_rejected))
                .unwrap_or(0)
        };
        let child = children.get(at).copied().unwrap_or(node);
        self.last = child;
        (at as u32, child)
    }

    pub(super) fn accept(&mut self, node: NodeId) {
        let is_outside = self.recursion == 0;
        let node = &mut self.nodes[node];
        node.is_accepted = true;
        node.has_sample |= is_outside;
    }

    /// Returns whether the smallest value of a node does not contain a value of a type around it.
    fn ends_recursion(&self, node: NodeId) -> bool {
        let Node { kind, children, is_rejected, .. } = &self.nodes[node];
        let all_end = || children.iter().all(|&child| self.ends_recursion(child));
        !is_rejected
            && match kind {
                Kind::Unknown | Kind::Recursion(_) => false,
                Kind::Leaf(_) | Kind::SelfDescribing | Kind::Tag => true,
                Kind::Option | Kind::Seq | Kind::Map => true,
                Kind::Newtype | Kind::Tuple | Kind::Struct => all_end(),
                Kind::Enum => children.iter().any(|&child| self.ends_recursion(child)),
            }
    }

    /// Returns whether every part of a variant was requested, and a sample shows the variant.
    fn is_sampled(&self, variant: NodeId, depth: usize) -> bool {
        let Node { has_sample, is_rejected, .. } = self.nodes[variant];
        is_rejected || has_sample && self.is_complete(variant, depth)
    }

    /// Returns whether every part of a node was requested.
    fn is_complete(&self, node: NodeId, depth: usize) -> bool {
        let is_complete = &self.nodes[node].is_complete;
        if !is_complete.get() {
            is_complete.set(self.becomes_complete(node, depth));
        }
        is_complete.get()
    }

    fn becomes_complete(&self, node: NodeId, depth: usize) -> bool {
        let Node { kind, children, names, is_rejected, is_accepted, varies, empty, .. } =
            &self.nodes[node];
        let are_complete = || children.iter().all(|&child| self.is_complete(child, depth + 1));
        let are_sampled = || children.iter().all(|&child| self.is_sampled(child, depth + 1));
        *is_rejected
            || *varies
            || depth > MAX_DEPTH
            || match kind {
                Kind::Unknown => false,
                Kind::Leaf(_) | Kind::Recursion(_) | Kind::SelfDescribing => true,
                // Every variant was tried.
                Kind::Tag => *is_accepted,
                Kind::Enum => children.len() == names.len() && are_sampled(),
                Kind::Struct => self.has_all_parts(node),
                Kind::Option | Kind::Seq | Kind::Map if children.is_empty() => {
                    *empty != Empty::InRecursion
                }
                Kind::Newtype | Kind::Option | Kind::Seq | Kind::Map | Kind::Tuple => {
                    are_complete()
                }
            }
    }

    /// Ends a pass over the type. Returns whether it was the last one.
    #[inline(never)]
    pub(super) fn end_pass(&mut self, is_accepted: bool) -> bool {
        self.path.clear();
        self.recursion = 0;
        if let Some(alias) = self.named.take().filter(|_| !is_accepted) {
            // The struct refused the name, because it already had the field under a different name.
            (self.nodes[alias].is_alias, self.nodes[alias].is_rejected) = (true, true);
            return false;
        }
        if is_accepted {
            for &tag in &self.tags {
                let tag = &mut self.nodes[tag];
                let has_next = tag.kind == Kind::Tag && !tag.is_accepted && tag.choice < u8::MAX;
                tag.choice += u8::from(has_next);
            }
            return self.is_complete(Self::ROOT, 0);
        }
        let node = &mut self.nodes[self.last];
        if node.kind == Kind::Tag && node.choice > 0 && !node.is_accepted {
            // The enum has no further variant.
            (node.is_accepted, node.choice) = (true, 0);
            return false;
        }
        let choices = match node.kind {
            Kind::Leaf(Leaf::Text) => TEXTS.len(),
            Kind::Leaf(Leaf::Bytes) => LENGTHS.len(),
            Kind::Leaf(Leaf::Number(_)) => NUMBERS.len(),
            Kind::Leaf(Leaf::Bool) | Kind::Seq | Kind::Map => 2,
            Kind::SelfDescribing => 4,
            _ => 1,
        };
        node.choice += 1;
        if usize::from(node.choice) < choices {
            return false;
        }
        node.choice = u8::from(matches!(node.kind, Kind::Option | Kind::Seq | Kind::Map));
        self.reject();
        self.nodes[Self::ROOT].is_rejected
    }

    /// Rejects the node whose value was chosen last, because it accepts no value. The next passes omit the
    /// node. If the value around it fails without the node, that value is rejected too.
    fn reject(&mut self) {
        let mut node = self.last;
        loop {
            let was_rejected = std::mem::replace(&mut self.nodes[node].is_rejected, true);
            if node == Self::ROOT {
                return;
            }
            let parent = self.nodes[node].parent;
            match self.nodes[parent].kind {
                Kind::Enum if !was_rejected => return,
                Kind::Option | Kind::Seq | Kind::Map if self.nodes[parent].choice == 0 => {
                    self.nodes[parent].choice = 1;
                    return;
                }
                Kind::Struct if !was_rejected => {
                    // The struct was visited by position, which uses no names, so its children do not
                    // include aliases. A visit by name includes them.
                    let struct_ = &mut self.nodes[parent];
                    if !std::mem::replace(&mut struct_.is_by_name, true) {
                        struct_.children.clear();
                        self.reopen(parent);
                    }
                    return;
                }
                // The other parts need further passes, for example one for each variant.
                Kind::Struct if self.nodes[parent].passes > 0 && !self.has_all_parts(parent) => {
                    self.nodes[parent].passes -= 1;
                    return;
                }
                _ => node = parent,
            }
        }
    }

    /// Returns whether every part of a struct was requested, or is rejected.
    fn has_all_parts(&self, node: NodeId) -> bool {
        let Node { children, names, is_by_name, .. } = &self.nodes[node];
        (!is_by_name || children.len() >= names.len())
            && children.iter().all(|&child| self.is_complete(child, 0))
    }

    /// Makes the next pass create a value with this variation. The pass is not ended.
    #[inline(never)]
    pub(super) fn vary(&mut self, variation: Variation) {
        self.path.clear();
        self.named = None;
        self.recursion = usize::from(variation.is_smallest());
        self.variation = variation;
    }

    /// Returns the shape of the type.
    #[cfg(feature = "testing")]
    pub(super) fn shape(&self) -> Shape {
        self.shape_of(Self::ROOT, &mut Outer::default())
    }

    #[cfg(feature = "testing")]
    fn shape_of(&self, node: NodeId, outer: &mut Outer) -> Shape {
        let Node { kind, names, varies, .. } = &self.nodes[node];
        if let Some(levels) = outer.levels_to(node) {
            return Shape::Recursion(levels);
        }
        let is_named = matches!(kind, Kind::Struct | Kind::Enum);
        if is_named {
            outer.named.push(node);
        }
        let children = self.parts_in(node, outer);
        let has_tag = self.has_tag(node);
        let mut parts: Vec<Shape> = Vec::with_capacity(children.len());
        for &child in children {
            if self.stands_for_a_part(node, child) {
                let is_content = has_tag && self.nodes[child].kind != Kind::Tag;
                parts.push(match is_content {
                    true => Shape::Leaf("unknown"),
                    false => self.shape_of(child, outer),
                });
            }
        }
        parts.extend((0..self.unreached(node)).map(|_| Shape::Leaf("unknown")));
        outer.leave(node);
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
            Kind::Recursion(to) => Shape::Recursion(outer.levels_to(to).unwrap_or_default()),
        }
    }

    /// Returns the node that stands for the value of a node: the part of a newtype or an option, and the
    /// enclosing value of the same type.
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

    /// Returns whether a struct or an enum has more names than parts, so that some names are aliases.
    #[cfg(feature = "messagepack")]
    pub(super) fn has_aliases(&self, node: NodeId) -> bool {
        let Node { children, names, .. } = &self.nodes[node];
        children.iter().filter(|&&child| self.stands_for_a_part(node, child)).count() != names.len()
    }

    /// Returns whether a child is a field or a variant. The names of an enum include aliases. So there are
    /// more names than variants, and the last children do not stand for variants.
    #[cfg(any(feature = "messagepack", feature = "testing"))]
    fn stands_for_a_part(&self, node: NodeId, child: NodeId) -> bool {
        let Node { kind, is_rejected, is_alias, .. } = self.nodes[child];
        let is_beyond = self.nodes[node].kind == Kind::Enum && is_rejected && kind == Kind::Unknown;
        !is_alias && !is_beyond
    }

    /// Returns the fingerprint: a hash by FNV-1a, folded to 32 bits, and the flags.
    #[inline(never)]
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Hash(0xcbf2_9ce4_8422_2325);
        self.write(Self::ROOT, &mut Outer::default(), &mut hash);
        let has = |kind| self.nodes.iter().any(|node| node.kind == kind);
        let may_have =
            |number| has(Kind::Leaf(Leaf::Number(number))) || self.is_unreached(Self::ROOT);
        let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
        let flags = flag(!self.is_known(Self::ROOT), Fingerprint::PARTIAL)
            | flag(may_have("u128"), Fingerprint::U128)
            | flag(may_have("i128"), Fingerprint::I128)
            | flag(has(Kind::SelfDescribing) || has(Kind::Tag), Fingerprint::ANY);
        Fingerprint::new((hash.0 ^ (hash.0 >> 32)) as u32, flags)
    }

    /// Returns whether every part of a node was requested, even inside a rejected part, and no name is an alias.
    fn is_known(&self, node: NodeId) -> bool {
        let Node { kind, children, names, .. } = &self.nodes[node];
        // A visit by position does not show which names are aliases of the same part.
        let has_aliases =
            matches!(kind, Kind::Struct | Kind::Enum) && children.len() != names.len();
        !has_aliases
            && self.has_its_parts(node)
            && children.iter().all(|&child| self.is_known(child))
    }

    /// Returns whether a part of a node was never requested, so that it may be of any type.
    pub(super) fn is_unreached(&self, node: NodeId) -> bool {
        let Node { kind, children, .. } = &self.nodes[node];
        // The last children of an enum with aliases do not stand for variants.
        let is_reached =
            |child: &&NodeId| *kind != Kind::Enum || self.nodes[**child].kind != Kind::Unknown;
        !self.has_its_parts(node)
            || children.iter().filter(is_reached).any(|&child| self.is_unreached(child))
    }

    /// Returns whether the kind of a node is known, and each of its parts was requested.
    fn has_its_parts(&self, node: NodeId) -> bool {
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

    fn write(&self, node: NodeId, outer: &mut Outer, hash: &mut Hash) {
        let Node { kind, names, varies, .. } = &self.nodes[node];
        let recursion = match *kind {
            Kind::Recursion(to) => Some(outer.levels_to(to).unwrap_or_default()),
            _ => outer.levels_to(node),
        };
        if let Some(levels) = recursion {
            hash.put("recursion");
            return hash.put(&levels.to_string());
        }
        let begin = match *kind {
            _ if *varies => return hash.put("unknown"),
            Kind::Unknown | Kind::Recursion(_) => return hash.put("unknown"),
            Kind::SelfDescribing | Kind::Tag => return hash.put("any"),
            Kind::Leaf(leaf) => return hash.put(leaf.name()),
            Kind::Newtype => "",
            Kind::Option => "option",
            Kind::Seq => "seq",
            Kind::Map => "map",
            Kind::Tuple => "tuple",
            Kind::Struct => "struct",
            Kind::Enum => "enum",
        };
        if !begin.is_empty() {
            hash.put(begin);
        }
        if matches!(kind, Kind::Struct | Kind::Enum) {
            outer.named.push(node);
            names.iter().for_each(|name| hash.put(name));
            hash.put(":");
        }
        let children = self.parts_in(node, outer);
        if let Some(target) = self.target(node).filter(|_| outer.expanded != Some(node)) {
            hash.put("itself");
            hash.put(&self.distance(node, target).to_string());
        }
        let has_tag = self.has_tag(node);
        for &child in children.iter().filter(|&&child| !self.nodes[child].is_alias) {
            match has_tag && self.nodes[child].kind != Kind::Tag {
                true => hash.put("unknown"),
                false => self.write(child, outer, hash),
            }
        }
        (0..self.unreached(node)).for_each(|_| hash.put("unknown"));
        outer.leave(node);
        if !begin.is_empty() {
            hash.put(";");
        }
    }

    /// Returns the enclosing value of the same type, for an option, a list or a map that is empty because it
    /// is inside a value of its own type.
    fn target(&self, node: NodeId) -> Option<NodeId> {
        let Node { kind, children, empty, type_name, .. } = &self.nodes[node];
        let is_in_itself = *empty == Empty::InItself && children.is_empty();
        is_in_itself.then(|| self.enclosing(node, *kind, type_name)).flatten()
    }

    /// Returns the number of values between a value and the enclosing value. Newtypes do not count, because
    /// they leave no trace in a payload.
    fn distance(&self, mut node: NodeId, outer: NodeId) -> usize {
        let mut distance = 0;
        while node != outer && node != Self::ROOT {
            node = self.nodes[node].parent;
            distance += usize::from(self.nodes[node].kind != Kind::Newtype);
        }
        distance
    }

    /// Returns the parts of a node. A node without parts of its own has the parts of its target, unless it is
    /// inside such a node. One level is enough to show which of the enclosing values the target is.
    fn parts_in(&self, node: NodeId, outer: &mut Outer) -> &[NodeId] {
        match self.target(node) {
            Some(target) if outer.expanded.is_none() => {
                outer.expanded = Some(node);
                &self.nodes[target].children
            }
            _ => &self.nodes[node].children,
        }
    }
}

/// The values around a part.
#[derive(Default)]
struct Outer {
    /// Structs and enums.
    named: Vec<NodeId>,
    /// The node that shows the parts of its target.
    expanded: Option<NodeId>,
}

impl Outer {
    /// Returns the number of structs and enums between `node` and the part. `None` if `node` is not around
    /// the part.
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

impl Leaf {
    fn name(self) -> &'static str {
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

struct Hash(u64);

impl Hash {
    /// Adds a string, and a zero byte after it.
    fn put(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}
