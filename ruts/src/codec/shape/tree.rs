//! [`Tree`]: the requests that a type has made to its deserializer so far.
//!
//! Filled by `tracer`, one pass at a time. Not generic, so it is compiled once.

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

/// Nesting depth from which options, lists and maps stay empty, and nesting depth that no type may
/// exceed.
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
    /// The node, or one inside it, accepted none of the values to try.
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
    /// Number of parts of a tuple.
    len: usize,
}

/// How a sample differs from the values that the passes created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), allow(dead_code))]
pub(super) enum Variation {
    None,
    /// Without optional values.
    Absent,
    /// With other numbers and strings: zero, and a string that is not empty.
    Other,
    /// Without optional values, and with empty lists and maps.
    Smallest,
}

/// A type, as far as it is known.
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Structs and enums around the current node.
    path: Vec<NodeId>,
    /// The node whose value was chosen last. If the pass fails, this node gets another value.
    last: NodeId,
    /// Number of structs and enums around the current node, from the first one inside its own type. If the
    /// number is above zero, values are as small as possible.
    recursion: usize,
    /// The part whose name was returned last, until its value is requested.
    named: Option<NodeId>,
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
        }
        self.nodes[node].children[at]
    }

    /// Records a value without parts, and returns the index of the value to try.
    #[inline(never)]
    pub(super) fn leaf(&mut self, node: NodeId, leaf: Leaf) -> usize {
        self.last = node;
        self.nodes[node].kind = Kind::Leaf(leaf);
        usize::from(self.nodes[node].choice) + usize::from(self.variation == Variation::Other)
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
        self.nodes[node].kind = Kind::SelfDescribing;
        self.nodes[node].choice
    }

    /// Records the kind of a value that always has its parts.
    #[inline(never)]
    pub(super) fn wrap(&mut self, node: NodeId, kind: Kind) {
        if self.nodes[node].kind == Kind::Unknown {
            self.nodes[node].kind = kind;
        }
    }

    /// Records the kind of a value that may be empty, and returns whether to give it a part. A value inside
    /// a value of the same type gets none. Otherwise the passes over a type such as
    /// `struct Tree(Vec<Tree>)` would not end.
    #[inline(never)]
    pub(super) fn fill(&mut self, node: NodeId, kind: Kind, type_name: &'static str) -> bool {
        if self.nodes[node].kind == Kind::Unknown {
            (self.nodes[node].kind, self.nodes[node].type_name) = (kind, type_name);
        }
        let is_filled = self.recursion == 0
            && !self.is_inside(node, kind, type_name)
            && self.path.len() < FULL_DEPTH
            && self.nodes[node].choice == 0
            && !(kind == Kind::Option && self.variation == Variation::Absent);
        if !is_filled {
            self.last = node;
        }
        is_filled
    }

    /// Returns whether a node is a part of a value of this type.
    fn is_inside(&self, mut node: NodeId, kind: Kind, type_name: &str) -> bool {
        while node != Self::ROOT {
            node = self.nodes[node].parent;
            let outer = &self.nodes[node];
            if outer.kind == kind && outer.type_name == type_name {
                return true;
            }
        }
        false
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
                self.nodes[node].kind = Kind::Recursion(outer);
                outer
            }
            None => node,
        };
        if outer.is_some() || self.recursion > 0 {
            self.recursion += 1;
        }
        let node = &mut self.nodes[entered];
        (node.kind, node.type_name, node.names) = (kind, type_name, names);
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
        self.wrap(node, Kind::Tuple);
        self.nodes[node].len = len.min(MAX_UNKNOWN);
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
            // A struct with a rejected part fails inside itself, too. So a list of such structs in the
            // struct stays empty.
            self.last = node;
        }
        let node = entered;
        self.nodes[node].is_accepted |= is_accepted;
        self.path.pop();
        self.recursion = self.recursion.saturating_sub(1);
    }

    /// Chooses a variant of an enum, and returns its number and its node. Prefers a variant with
    /// parts that were not requested yet. Inside a recursion, prefers a variant without parts.
    #[inline(never)]
    pub(super) fn variant(&mut self, node: NodeId, count: usize) -> (u32, NodeId) {
        for at in 0..count {
            self.child(node, at);
        }
        let children = &self.nodes[node].children;
        let find =
            |is_wanted: &dyn Fn(NodeId) -> bool| (0..count).find(|&at| is_wanted(children[at]));
        let at = if self.recursion > 0 {
            find(&|child| matches!(self.nodes[child].kind, Kind::Leaf(_)))
                .or_else(|| find(&|child| self.nodes[child].is_accepted))
                .unwrap_or(self.path.len() % count.max(1))
        } else {
            find(&|child| !self.is_complete(child, 0))
                .or_else(|| find(&|child| !self.nodes[child].is_rejected))
                .unwrap_or(0)
        };
        let child = children.get(at).copied().unwrap_or(node);
        self.last = child;
        (at as u32, child)
    }

    pub(super) fn accept(&mut self, node: NodeId) {
        self.nodes[node].is_accepted = true;
    }

    /// Returns whether every part of a node was requested.
    fn is_complete(&self, node: NodeId, depth: usize) -> bool {
        let Node { kind, children, names, is_rejected, .. } = &self.nodes[node];
        let are_complete = || children.iter().all(|&child| self.is_complete(child, depth + 1));
        *is_rejected
            || depth > MAX_DEPTH
            || match kind {
                Kind::Unknown => false,
                Kind::Leaf(_) | Kind::Recursion(_) | Kind::SelfDescribing => true,
                Kind::Enum => children.len() == names.len() && are_complete(),
                Kind::Struct => self.has_all_parts(node),
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
            // The struct refused the name, because it had the field under another name already.
            (self.nodes[alias].is_alias, self.nodes[alias].is_rejected) = (true, true);
            return false;
        }
        if is_accepted {
            return self.is_complete(Self::ROOT, 0);
        }
        let node = &mut self.nodes[self.last];
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
                    // So far, the children exclude aliases, because a visit by position uses no names. A
                    // visit by name includes aliases.
                    let struct_ = &mut self.nodes[parent];
                    if !std::mem::replace(&mut struct_.is_by_name, true) {
                        struct_.children.clear();
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

    /// Makes the next pass create a value with this variation.
    #[cfg(feature = "testing")]
    pub(super) fn vary(&mut self, variation: Variation) {
        self.path.clear();
        self.recursion = usize::from(variation == Variation::Smallest);
        self.variation = variation;
    }

    /// Returns the shape of the type.
    #[cfg(feature = "testing")]
    pub(super) fn shape(&self) -> Shape {
        self.shape_of(Self::ROOT, &mut Vec::new())
    }

    #[cfg(feature = "testing")]
    fn shape_of(&self, node: NodeId, outer: &mut Vec<NodeId>) -> Shape {
        let Node { kind, children, names, .. } = &self.nodes[node];
        let is_named = matches!(kind, Kind::Struct | Kind::Enum);
        if is_named {
            outer.push(node);
        }
        let mut parts: Vec<Shape> = Vec::with_capacity(children.len());
        for &child in children {
            // The names of an enum include aliases, so there are more names than variants, and the last
            // children stand for no variant.
            let Node { kind: of_child, is_rejected, is_alias, .. } = self.nodes[child];
            let has_no_variant = *kind == Kind::Enum && is_rejected && of_child == Kind::Unknown;
            if !is_alias && !has_no_variant {
                parts.push(self.shape_of(child, outer));
            }
        }
        parts.extend((0..self.unreached(node)).map(|_| Shape::Leaf("unknown")));
        if is_named {
            outer.pop();
        }
        let loose = match names.len() == parts.len() {
            true => Vec::new(),
            false => names.iter().map(|&name| name.to_owned()).collect(),
        };
        let mut parts = parts.into_iter();
        let mut part = || Box::new(parts.next().unwrap_or(Shape::Leaf("unknown")));
        match *kind {
            Kind::Unknown => Shape::Leaf("unknown"),
            Kind::SelfDescribing => Shape::Leaf("any"),
            Kind::Leaf(leaf) => Shape::Leaf(leaf.name()),
            Kind::Newtype => *part(),
            Kind::Option => Shape::Option(part()),
            Kind::Seq => Shape::Seq(part()),
            Kind::Map => Shape::Map(Box::new((*part(), *part()))),
            Kind::Tuple => Shape::Tuple(parts.collect()),
            Kind::Struct => Shape::Struct { fields: named(names, parts), loose, is_closed: false },
            Kind::Enum => Shape::Enum { variants: named(names, parts), loose, has_other: false },
            Kind::Recursion(to) => {
                let levels = outer.iter().rev().position(|&node| node == to);
                Shape::Recursion(levels.unwrap_or_default())
            }
        }
    }

    /// Returns the fingerprint: a hash by FNV-1a, folded to 32 bits, and the flags.
    #[inline(never)]
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Hash(0xcbf2_9ce4_8422_2325);
        self.write(Self::ROOT, &mut Vec::new(), &mut hash);
        let has = |kind| self.nodes.iter().any(|node| node.kind == kind);
        let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
        let flags = flag(!self.is_known(Self::ROOT), Fingerprint::PARTIAL)
            | flag(has(Kind::Leaf(Leaf::Number("u128"))), Fingerprint::U128)
            | flag(has(Kind::Leaf(Leaf::Number("i128"))), Fingerprint::I128)
            | flag(has(Kind::SelfDescribing), Fingerprint::ANY);
        Fingerprint::new((hash.0 ^ (hash.0 >> 32)) as u32, flags)
    }

    /// Returns whether every part of a node was requested, even inside a rejected part, and no name is an alias.
    fn is_known(&self, node: NodeId) -> bool {
        let Node { kind, children, names, len, .. } = &self.nodes[node];
        let has_parts = match kind {
            Kind::Unknown => false,
            // A map without children stayed empty, because it is inside its own type.
            Kind::Map => children.len() != 1,
            Kind::Tuple => children.len() >= *len,
            // A visit by position does not show which names are aliases of the same part.
            Kind::Struct | Kind::Enum => children.len() == names.len(),
            _ => true,
        };
        has_parts && children.iter().all(|&child| self.is_known(child))
    }

    fn write(&self, node: NodeId, outer: &mut Vec<NodeId>, hash: &mut Hash) {
        let Node { kind, children, names, .. } = &self.nodes[node];
        let begin = match *kind {
            Kind::Unknown => return hash.put("unknown"),
            Kind::SelfDescribing => return hash.put("any"),
            Kind::Leaf(leaf) => return hash.put(leaf.name()),
            Kind::Recursion(to) => {
                let levels = outer.iter().rev().position(|&node| node == to).unwrap_or_default();
                hash.put("recursion");
                return hash.put(&levels.to_string());
            }
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
        let is_named = matches!(kind, Kind::Struct | Kind::Enum);
        if is_named {
            outer.push(node);
            names.iter().for_each(|name| hash.put(name));
            hash.put(":");
        }
        for &child in children.iter().filter(|&&child| !self.nodes[child].is_alias) {
            self.write(child, outer, hash);
        }
        (0..self.unreached(node)).for_each(|_| hash.put("unknown"));
        if is_named {
            outer.pop();
        }
        if !begin.is_empty() {
            hash.put(";");
        }
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
