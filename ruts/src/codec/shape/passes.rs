//! [`Passes`]: the passes over a type, each of which adds the requests of the type to its [`Tree`].
//!
//! Driven by `tracer`. Chooses the values of a pass, so that each part is requested at last. Not
//! generic, so it is compiled only once.

use std::collections::BTreeSet;

use super::tree::{Empty, Kind, Leaf, MAX_DEPTH, Node, NodeId, Tree};

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

/// Nesting depth from which options, lists and maps stay empty.
const FULL_DEPTH: usize = 48;

/// Maximum number of parts of a tuple that are recorded.
const MAX_PARTS: usize = 64;

/// How a sample differs from the values that the passes created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variation {
    None,
    /// Without optional values.
    #[cfg(feature = "testing")]
    Absent,
    /// With the numbers and strings that come this many places later in the lists. With 1: zero,
    /// and a string that is not empty.
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

/// The state of the passes over a type.
pub(super) struct Passes {
    tree: Tree,
    /// The structs and enums that enclose the current node.
    path: Vec<NodeId>,
    /// The node whose value was chosen last. If the pass fails, this node gets a different value.
    last: NodeId,
    /// Number of structs and enums that enclose the current node, from the first one inside its own
    /// type. If the number is above zero, values are as small as possible.
    recursion: usize,
    /// The part whose name was returned last, until its value is requested.
    named: Option<NodeId>,
    /// Nodes that were requested as a tag.
    tags: BTreeSet<NodeId>,
    variation: Variation,
}

impl Passes {
    #[inline(never)]
    pub(super) fn new() -> Self {
        Self {
            tree: Tree::new(),
            path: Vec::new(),
            last: Tree::ROOT,
            recursion: 0,
            named: None,
            tags: BTreeSet::new(),
            variation: Variation::None,
        }
    }

    /// Returns the structure that the passes have found so far.
    #[cfg(feature = "testing")]
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Returns the structure that the passes have found.
    pub(super) fn into_tree(self) -> Tree {
        self.tree
    }

    /// Returns the node of a part, and adds it if necessary.
    pub(super) fn child(&mut self, node: NodeId, at: usize) -> NodeId {
        self.tree.child(node, at)
    }

    /// Records that a type has two forms.
    pub(super) fn note_forms(&self, node: NodeId) {
        self.tree.nodes[node].has_forms.set(true);
    }

    /// Records a value without parts, and returns the index of the value to try.
    #[inline(never)]
    pub(super) fn leaf(&mut self, node: NodeId, leaf: Leaf) -> usize {
        self.last = node;
        self.tree.set_kind(node, Kind::Leaf(leaf));
        let later = match self.variation {
            Variation::Other(later) => later,
            _ => 0,
        };
        usize::from(self.tree.nodes[node].choice) + usize::from(later)
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
        self.tree.set_kind(node, Kind::SelfDescribing);
        self.tree.nodes[node].choice
    }

    /// Records a tag, and returns the index of the variant to try. Returns `None` for a key of a
    /// map.
    #[inline(never)]
    pub(super) fn tag(&mut self, node: NodeId) -> Option<u8> {
        if self.tree.nodes[self.tree.nodes[node].parent].kind == Kind::Map {
            return None;
        }
        self.last = node;
        self.tree.set_kind(node, Kind::Tag);
        self.tags.insert(node);
        Some(self.tree.nodes[node].choice)
    }

    /// Records the kind of a value that always has its parts.
    #[inline(never)]
    pub(super) fn wrap(&mut self, node: NodeId, kind: Kind) {
        self.tree.set_kind(node, kind);
    }

    /// Records the kind of a value that may be empty, and returns whether to give it a part. A
    /// value inside a value of the same type gets none. Otherwise the passes over a type such as
    /// `struct Tree(Vec<Tree>)` would not end.
    #[inline(never)]
    pub(super) fn fill(&mut self, node: NodeId, kind: Kind, type_name: &'static str) -> bool {
        self.tree.set_kind(node, kind);
        self.tree.nodes[node].type_name = type_name;
        let empty = match self.recursion {
            _ if self.tree.enclosing(node, kind, type_name).is_some() => Empty::InItself,
            0 => Empty::Never,
            _ => Empty::InRecursion,
        };
        let is_filled = empty == Empty::Never
            && self.path.len() < FULL_DEPTH
            && self.tree.nodes[node].choice == 0
            && !(kind == Kind::Option && self.variation.is_absent());
        if !is_filled {
            self.last = node;
        }
        self.tree.nodes[node].empty = empty;
        is_filled
    }

    /// Enters a struct or an enum, and returns its node. Inside a value of the same type, this is
    /// the node of that value. `None` if the type is nested too deeply.
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
            let Node { kind: outer_kind, type_name: outer_name, .. } = &self.tree.nodes[**outer];
            **outer != node && *outer_name == type_name && *outer_kind == kind
        };
        let outer = self.path.iter().find(is_same).filter(|_| !type_name.is_empty()).copied();
        let entered = match outer {
            Some(outer) => {
                self.tree.set_kind(node, Kind::Recursion(outer));
                outer
            }
            None => node,
        };
        if outer.is_some() || self.recursion > 0 {
            self.recursion += 1;
        }
        self.tree.set_kind(entered, kind);
        let node = &mut self.tree.nodes[entered];
        node.varies |= !node.names.is_empty() && node.names != names;
        (node.type_name, node.names) = (type_name, names);
        self.path.push(entered);
        Some(entered)
    }

    /// Returns whether the parts of a struct are visited by name.
    #[inline(never)]
    pub(super) fn is_by_name(&self, node: NodeId) -> bool {
        self.tree.nodes[node].is_by_name
    }

    /// Returns the first part from `at` on that is not rejected, in a struct that is visited by
    /// name. If there is none, returns `None` and records a rejected part as the last choice. If
    /// the struct then fails, the reason is that this part is missing.
    #[inline(never)]
    pub(super) fn named_part(
        &mut self,
        node: NodeId,
        at: usize,
    ) -> Option<(usize, &'static str, NodeId)> {
        let names = self.tree.nodes[node].names;
        for (at, name) in names.iter().enumerate().skip(at) {
            let child = self.tree.child(node, at);
            if !self.tree.nodes[child].is_rejected {
                self.named = Some(child);
                return Some((at, name, child));
            }
        }
        let rejected = |child: &&NodeId| {
            let Node { is_rejected, is_alias, .. } = self.tree.nodes[**child];
            is_rejected && !is_alias
        };
        self.last = self.tree.nodes[node].children.iter().find(rejected).copied().unwrap_or(node);
        None
    }

    /// Records that the struct has accepted the name that was returned last, because it requests
    /// the value.
    #[inline(never)]
    pub(super) fn accept_name(&mut self) {
        self.named = None;
    }

    /// Records a tuple.
    #[inline(never)]
    pub(super) fn tuple(&mut self, node: NodeId, len: usize) {
        self.tree.set_kind(node, Kind::Tuple);
        let (node, len) = (&mut self.tree.nodes[node], len.min(MAX_PARTS));
        node.varies |= !node.children.is_empty() && node.len != len;
        node.len = len;
    }

    /// Leaves a struct or an enum, which was entered at `node`.
    #[inline(never)]
    pub(super) fn leave(&mut self, node: NodeId, entered: NodeId, is_accepted: bool) {
        if !is_accepted && node != entered && self.tree.nodes[entered].is_by_name {
            // If a struct has a rejected part, a value of the same type inside the struct fails,
            // too. So a list of such values stays empty.
            self.last = node;
        }
        let node = entered;
        self.tree.nodes[node].is_accepted |= is_accepted;
        self.path.pop();
        self.recursion = self.recursion.saturating_sub(1);
    }

    /// Chooses a variant of an enum, and returns its number and its node. Prefers a variant with
    /// parts that were not requested yet, or without a sample. Inside a recursion, prefers a
    /// variant that ends the recursion, and then a variant that was not requested yet.
    #[inline(never)]
    pub(super) fn variant(&mut self, node: NodeId, count: usize) -> (u32, NodeId) {
        for at in 0..count {
            self.tree.child(node, at);
        }
        let children = &self.tree.nodes[node].children;
        let find =
            |is_wanted: &dyn Fn(NodeId) -> bool| (0..count).find(|&at| is_wanted(children[at]));
        let at = if self.recursion > 0 {
            find(&|child| self.tree.nodes[child].is_accepted && self.ends_recursion(child))
                .or_else(|| find(&|child| self.tree.nodes[child].kind == Kind::Unknown))
                .or_else(|| find(&|child| self.tree.nodes[child].is_accepted))
                .unwrap_or(self.path.len() % count.max(1))
        } else {
            find(&|child| !self.is_sampled(child, 0))
                .or_else(|| find(&|child| !self.tree.nodes[child].is_rejected))
                .unwrap_or(0)
        };
        let child = children.get(at).copied().unwrap_or(node);
        self.last = child;
        (at as u32, child)
    }

    pub(super) fn accept(&mut self, node: NodeId) {
        let is_outside = self.recursion == 0;
        let node = &mut self.tree.nodes[node];
        node.is_accepted = true;
        node.has_sample |= is_outside;
    }

    /// Returns whether the smallest value of a node does not contain a value of a type around it.
    fn ends_recursion(&self, node: NodeId) -> bool {
        let Node { kind, children, is_rejected, .. } = &self.tree.nodes[node];
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
        let Node { has_sample, is_rejected, .. } = self.tree.nodes[variant];
        is_rejected || has_sample && self.is_complete(variant, depth)
    }

    /// Returns whether every part of a node was requested.
    fn is_complete(&self, node: NodeId, depth: usize) -> bool {
        let is_complete = &self.tree.nodes[node].is_complete;
        if !is_complete.get() {
            is_complete.set(self.becomes_complete(node, depth));
        }
        is_complete.get()
    }

    fn becomes_complete(&self, node: NodeId, depth: usize) -> bool {
        let Node { kind, children, names, is_rejected, is_accepted, varies, empty, .. } =
            &self.tree.nodes[node];
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

    /// Ends a pass over the type. Returns whether it was the last pass.
    #[inline(never)]
    pub(super) fn end_pass(&mut self, is_accepted: bool) -> bool {
        self.path.clear();
        self.recursion = 0;
        if let Some(alias) = self.named.take().filter(|_| !is_accepted) {
            // The struct refused the name, because it already had the field under a different name.
            (self.tree.nodes[alias].is_alias, self.tree.nodes[alias].is_rejected) = (true, true);
            return false;
        }
        if is_accepted {
            for &tag in &self.tags {
                let tag = &mut self.tree.nodes[tag];
                let has_next = tag.kind == Kind::Tag && !tag.is_accepted && tag.choice < u8::MAX;
                tag.choice += u8::from(has_next);
            }
            return self.is_complete(Tree::ROOT, 0);
        }
        let node = &mut self.tree.nodes[self.last];
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
        self.tree.nodes[Tree::ROOT].is_rejected
    }

    /// Rejects the node whose value was chosen last, because it accepts no value. The next passes
    /// omit the node. If the value around it fails without the node, that value is rejected too.
    fn reject(&mut self) {
        let mut node = self.last;
        loop {
            let was_rejected = std::mem::replace(&mut self.tree.nodes[node].is_rejected, true);
            if node == Tree::ROOT {
                return;
            }
            let parent = self.tree.nodes[node].parent;
            match self.tree.nodes[parent].kind {
                Kind::Enum if !was_rejected => return,
                Kind::Option | Kind::Seq | Kind::Map if self.tree.nodes[parent].choice == 0 => {
                    self.tree.nodes[parent].choice = 1;
                    return;
                }
                Kind::Struct if !was_rejected => {
                    // The struct was visited by position, which uses no names, so its children do
                    // not include aliases. A visit by name includes them.
                    let struct_ = &mut self.tree.nodes[parent];
                    if !std::mem::replace(&mut struct_.is_by_name, true) {
                        struct_.children.clear();
                        self.tree.reopen(parent);
                    }
                    return;
                }
                // The other parts need further passes, for example one for each variant.
                Kind::Struct
                    if self.tree.nodes[parent].passes > 0 && !self.has_all_parts(parent) =>
                {
                    self.tree.nodes[parent].passes -= 1;
                    return;
                }
                _ => node = parent,
            }
        }
    }

    /// Returns whether every part of a struct was requested, or is rejected.
    fn has_all_parts(&self, node: NodeId) -> bool {
        let Node { children, names, is_by_name, .. } = &self.tree.nodes[node];
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
}
