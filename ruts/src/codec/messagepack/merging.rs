//! [`merge`]: three-way merge of payloads, so that an `update` keeps unknown fields of a struct.
//!
//! Called by `codec::preserve`. During a deploy, an instance of the previous release may update a
//! value of the new release. That instance knows only some of the fields. The merge keeps the other
//! fields. The code is not generic, so it is compiled only once.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem,
};

use super::node::{Node, text_of, write_head};
use crate::codec::shape::{PartKind, TypePart};

/// A string that is not a tag of any enum, as MessagePack.
const ANY_TEXT: &[u8] = b"\xacruts-no-tag-";

/// Maximum number of payloads that are tried. If more are needed, changed strings count as tags.
const MAX_TRIALS: usize = 100;

/// The entries of a struct or a map.
type Entries<'b> = [(&'b [u8], Node<'b>)];

/// Returns `next` with the fields of `stored` that neither `known` nor `next` has, and with the
/// values that the caller has not changed. `known` is the payload that this release writes for the
/// value that it read from `stored`. `part` is the type of this release. `writes_back` returns
/// whether a payload is in the form that this release writes.
///
/// The other release may have renamed a field, and read the former name as an alias. It cannot read
/// a value with both names. So if a stored struct has a field that this release does not know,
/// fields may be left out. The result leaves out each field that the struct lacks and that still
/// has its default. A field in `written` is never left out.
///
/// `None` if there is nothing to keep, or if a payload is malformed.
pub(in crate::codec) fn merge(
    [stored, known, next]: [&[u8]; 3],
    part: TypePart<'_>,
    written: &HashSet<Vec<u8>>,
    writes_back: &dyn Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    let nodes = (Node::parse(stored)?, Node::parse(known)?, Node::parse(next)?);
    let mut merge = Merge {
        payload: next,
        writes_back,
        trials: MAX_TRIALS,
        written,
        // In two cases, unchanged parts are taken from `next` instead of `stored`. In a `settle`,
        // `known` equals `next`, and the whole value has to be rewritten in the form of this
        // release. If `written` has fields, a stored part may lack them.
        keeps_unchanged: known != next && written.is_empty(),
        out: Vec::with_capacity(next.len() + 64),
    };
    merge.nodes([&nodes.0, &nodes.1, &nodes.2], Some(part));
    (merge.out != next).then_some(merge.out)
}

struct Merge<'a> {
    /// The payload of the new value.
    payload: &'a [u8],
    writes_back: &'a dyn Fn(&[u8]) -> bool,
    /// Number of further payloads that may be tried.
    trials: usize,
    written: &'a HashSet<Vec<u8>>,
    /// Whether a part that the caller has not changed stays as it is stored, whatever its kind.
    keeps_unchanged: bool,
    out: Vec<u8>,
}

impl Merge<'_> {
    /// Merges a part. `part` is `None` if its type is not known.
    fn nodes(&mut self, [stored, known, next]: [&Node<'_>; 3], part: Option<TypePart<'_>>) {
        // This release may read the stored value as a different value. For example, it may read an
        // unknown variant as the variant marked `#[serde(other)]`. So a part that the caller has
        // not changed stays as it is stored.
        if known == next
            && (self.keeps_unchanged || matches!((stored, next), (Node::Leaf(_), Node::Leaf(_))))
        {
            return stored.write(&mut self.out);
        }
        match (stored, known, next) {
            (Node::Map(stored), Node::Map(known), Node::Map(next))
                if self.may_be_merged(part, known, next) =>
            {
                self.entries([stored, known, next], part);
            }
            (Node::List(stored), Node::List(known), Node::List(next)) if is_part(stored, known) => {
                write_head(&mut self.out, next.len(), 0x90, 0xdc);
                for (at, (value, from)) in next.iter().zip(origins(known, next)).enumerate() {
                    let element = part.and_then(|part| part.element(at));
                    match from {
                        Some(from) => self.nodes([&stored[from], &known[from], value], element),
                        None => value.write(&mut self.out),
                    }
                }
            }
            _ => next.write(&mut self.out),
        }
    }

    fn entries(&mut self, [stored, known, next]: [&Entries<'_>; 3], part: Option<TypePart<'_>>) {
        let of = [stored, known, next].map(by_key);
        let [of_stored, of_known, of_next] = &of;
        let is_unknown = |key| !of_known.contains_key(key) && !of_next.contains_key(key);
        let mut kept: Vec<_> = stored.iter().filter(|(key, _)| is_unknown(key)).collect();
        let is_omitted = |(key, value): &&(&[u8], Node<'_>)| {
            !kept.is_empty()
                && !self.written.contains(*key)
                && !of_stored.contains_key(key)
                && of_known.get(key) == Some(&value)
        };
        let next: Vec<_> = next.iter().filter(|entry| !is_omitted(entry)).collect();
        let mut values = Vec::with_capacity(next.len());
        for (key, value) in next {
            let known = of_known.get(key).copied();
            let stored = of_stored.get(key).copied().or_else(|| {
                let alias = alias_of(known?, &kept, part)?;
                Some(&kept.remove(alias).1)
            });
            values.push((key, stored.zip(known), value));
        }
        write_head(&mut self.out, values.len() + kept.len(), 0x80, 0xde);
        for (key, before, value) in values {
            self.out.extend_from_slice(key);
            match before {
                Some((stored, known)) => self.nodes([stored, known, value], part_of(part, key)),
                None => value.write(&mut self.out),
            }
        }
        for (key, value) in kept {
            self.out.extend_from_slice(key);
            value.write(&mut self.out);
        }
    }

    /// Returns whether the entries of two maps belong together. They do not if the caller has
    /// changed the variant of an enum with a tag. The unknown fields of one variant do not belong
    /// to a different variant.
    fn may_be_merged(
        &mut self,
        part: Option<TypePart<'_>>,
        known: &Entries<'_>,
        next: &Entries<'_>,
    ) -> bool {
        match part.map_or(PartKind::Unknown, TypePart::kind) {
            PartKind::Struct | PartKind::Enum | PartKind::Other => true,
            // serde writes the tag first.
            PartKind::Tagged => first_text(known) == first_text(next),
            PartKind::Unknown => has_same_keys(known, next) && self.has_same_tags(known, next),
        }
    }

    /// Returns whether none of the strings that differ is a tag. A string that is not a tag could
    /// be replaced by any other string.
    fn has_same_tags(&mut self, known: &Entries<'_>, next: &Entries<'_>) -> bool {
        let of_known = by_key(known);
        let changed = next.iter().filter_map(|(key, value)| match value {
            Node::Leaf(leaf) if of_known.get(key) != Some(&value) => text_of(leaf).and(Some(*leaf)),
            _ => None,
        });
        let changed: Vec<&[u8]> = changed.collect();
        if changed.is_empty() {
            return true;
        }
        let Some(trials) = self.trials.checked_sub(1) else { return false };
        self.trials = trials;
        let mut trial = Vec::with_capacity(self.payload.len() + ANY_TEXT.len());
        let mut copied = 0;
        for leaf in changed {
            let begin = leaf.as_ptr().addr() - self.payload.as_ptr().addr();
            trial.extend_from_slice(&self.payload[copied..begin]);
            trial.extend_from_slice(ANY_TEXT);
            copied = begin + leaf.len();
        }
        trial.extend_from_slice(&self.payload[copied..]);
        (self.writes_back)(&trial)
    }
}

/// Returns the type of an entry.
fn part_of<'t>(part: Option<TypePart<'t>>, key: &[u8]) -> Option<TypePart<'t>> {
    let part = part?;
    match part.kind() {
        PartKind::Struct | PartKind::Enum => part.named(text_of(key)?),
        PartKind::Other => part.value(),
        PartKind::Tagged | PartKind::Unknown => None,
    }
}

/// Returns the index of the stored entry that this release has read under an alias. `known` is the
/// value of the field before the caller changed it.
fn alias_of(
    known: &Node<'_>,
    kept: &[&(&[u8], Node<'_>)],
    part: Option<TypePart<'_>>,
) -> Option<usize> {
    let part = part?;
    let is_alias = |key: &[u8]| text_of(key).is_some_and(|name| part.reads(name));
    let mut aliases = (0..kept.len()).filter(|&at| is_alias(kept[at].0));
    let same = aliases.clone().find(|&at| kept[at].1 == *known);
    same.or_else(|| aliases.next().filter(|_| aliases.next().is_none()))
}

fn has_same_keys(known: &Entries<'_>, next: &Entries<'_>) -> bool {
    let values = by_key(known);
    known.len() == next.len() && next.iter().all(|(key, _)| values.contains_key(key))
}

/// Returns the names of the innermost struct fields that differ between two payloads. `None` if a
/// payload is malformed.
pub(in crate::codec) fn changed_names(one: &[u8], other: &[u8]) -> Option<HashSet<Vec<u8>>> {
    let mut names = HashSet::new();
    add_changed(&Node::parse(one)?, &Node::parse(other)?, None, &mut names);
    Some(names)
}

fn add_changed(
    one: &Node<'_>,
    other: &Node<'_>,
    name: Option<&[u8]>,
    names: &mut HashSet<Vec<u8>>,
) {
    match (one, other) {
        (Node::Map(one), Node::Map(other)) => {
            let of_one = by_key(one);
            for (key, other) in other {
                match of_one.get(key) {
                    Some(one) => add_changed(one, other, Some(key), names),
                    None => _ = names.insert(key.to_vec()),
                }
            }
        }
        (Node::List(one), Node::List(other)) if one.len() == other.len() => {
            for (one, other) in one.iter().zip(other) {
                add_changed(one, other, name, names);
            }
        }
        (one, other) if one == other => {}
        _ => names.extend(name.map(<[u8]>::to_vec)),
    }
}

/// Returns the value of the first entry, if it is a string.
fn first_text<'a>(entries: &'a Entries<'_>) -> Option<&'a str> {
    match entries.first() {
        Some((_, Node::Leaf(leaf))) => text_of(leaf),
        _ => None,
    }
}

/// Returns, for each element of `next`, the index of the element of `known` that it was before the
/// change.
///
/// Equal elements are matched first: at the same index if both lists have the same length, then in
/// the order of the list, then anywhere. If both lists have the same length, an element without an
/// equal is matched with the element at its own index, if it [resembles](resembles) that element.
/// Otherwise it is a new element, as if a user had replaced the only article in a cart.
fn origins(known: &[Node<'_>], next: &[Node<'_>]) -> Vec<Option<usize>> {
    let has_same_len = known.len() == next.len();
    let mut origins = vec![None; next.len()];
    if has_same_len {
        for at in (0..next.len()).filter(|&at| known[at] == next[at]) {
            origins[at] = Some(at);
        }
    }
    // The indexes of the elements that are not matched yet.
    let mut places: HashMap<&Node<'_>, BTreeSet<usize>> = HashMap::new();
    for (at, value) in known.iter().enumerate() {
        if !has_same_len || origins[at].is_none() {
            places.entry(value).or_default().insert(at);
        }
    }
    let mut after = 0;
    for (at, value) in next.iter().enumerate() {
        if origins[at].is_none()
            && let Some(same) = places.get_mut(value)
            && let Some(from) = same.range(after..).next().or_else(|| same.first()).copied()
        {
            same.remove(&from);
            (origins[at], after) = (Some(from), from + 1);
        }
    }
    if has_same_len {
        for at in places.into_values().flatten() {
            origins[at] = origins[at].or(Some(at).filter(|&at| resembles(&known[at], &next[at])));
        }
    }
    origins
}

/// Returns whether an element may be a changed form of another: their first values are equal, or
/// most of their values, or they have only one value. The first value often identifies an element.
fn resembles(known: &Node<'_>, next: &Node<'_>) -> bool {
    let (mut of_known, mut of_next) = (Vec::new(), Vec::new());
    add_leaves(known, &mut of_known);
    add_leaves(next, &mut of_next);
    let equal = of_known.iter().zip(&of_next).filter(|(known, next)| known == next).count();
    let len = of_known.len().max(of_next.len());
    len <= 1 || of_known.first() == of_next.first() || 2 * equal > len
}

fn add_leaves<'b>(node: &Node<'b>, leaves: &mut Vec<&'b [u8]>) {
    match node {
        Node::Leaf(leaf) => leaves.push(leaf),
        Node::List(nodes) => nodes.iter().for_each(|node| add_leaves(node, leaves)),
        Node::Map(entries) => entries.iter().for_each(|(_, node)| add_leaves(node, leaves)),
    }
}

/// Values without parts that differ between `stored` and `known`. This release may read some values
/// as different values.
#[derive(Default)]
struct Renamed<'b> {
    stored: HashSet<&'b [u8]>,
    known: HashSet<&'b [u8]>,
}

impl<'b> Renamed<'b> {
    /// Returns whether `known` can have been read from `stored`: they are equal, except for values
    /// without parts, and for fields that only one of the two has.
    fn add(&mut self, stored: &Node<'b>, known: &Node<'b>) -> bool {
        match (stored, known) {
            (Node::Map(stored), Node::Map(known)) => {
                let known = by_key(known);
                let mut entries = stored.iter();
                entries
                    .all(|(key, value)| known.get(key).is_none_or(|known| self.add(value, known)))
            }
            (Node::List(stored), Node::List(known)) => {
                // If the list is in a different order, all its elements seem to be renamed. So it
                // is compared on its own, and adds its values only if they are consistent.
                let mut inner = Self::default();
                match inner.add_all(stored, known) && inner.is_consistent() {
                    true => {
                        self.stored.extend(mem::take(&mut inner.stored));
                        self.known.extend(mem::take(&mut inner.known));
                        true
                    }
                    false => is_reordered(stored, known),
                }
            }
            (Node::Leaf(stored), Node::Leaf(known)) if stored != known => {
                self.stored.insert(stored);
                self.known.insert(known);
                true
            }
            // One release may write bytes as a byte string, and the other release as a list of
            // numbers.
            (Node::Leaf(_), Node::List(_)) | (Node::List(_), Node::Leaf(_)) => true,
            (stored, known) => stored == known,
        }
    }

    fn add_all(&mut self, stored: &[Node<'b>], known: &[Node<'b>]) -> bool {
        stored.len() == known.len()
            && stored.iter().zip(known).all(|(stored, known)| self.add(stored, known))
    }

    fn is_consistent(&self) -> bool {
        self.stored.is_disjoint(&self.known)
    }
}

/// Returns whether two lists have the same elements in different orders, as two encodings of one
/// `HashSet` may have.
fn is_reordered(stored: &[Node<'_>], known: &[Node<'_>]) -> bool {
    let sorted = |nodes: &[Node<'_>]| {
        let mut written: Vec<Vec<u8>> = nodes.iter().map(Node::to_vec).collect();
        written.sort_unstable();
        written
    };
    stored.len() == known.len() && stored != known && sorted(stored) == sorted(known)
}

/// Returns the values of entries by key.
fn by_key<'a, 'b>(entries: &'a Entries<'b>) -> HashMap<&'b [u8], &'a Node<'b>> {
    entries.iter().map(|(key, value)| (*key, value)).collect()
}

/// Returns whether each element of `known` can have been read from the element of `stored` at the
/// same index. `false` for a `HashSet` whose elements were written in a different order, because a
/// value of `known` is then in `stored` at a different index.
fn is_part<'b>(stored: &[Node<'b>], known: &[Node<'b>]) -> bool {
    let mut renamed = Renamed::default();
    renamed.add_all(stored, known) && renamed.is_consistent()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::codec::shape::trace_tree;

    type Lists = BTreeMap<String, Vec<Option<u32>>>;

    fn payload(value: &Lists) -> Vec<u8> {
        rmp_serde::to_vec_named(value).unwrap()
    }

    fn merged(payloads: [&[u8]; 3]) -> Option<Vec<u8>> {
        merge(payloads, TypePart::of(&trace_tree::<Lists>()), &HashSet::new(), &|_| true)
    }

    proptest! {
        /// Stored values are untrusted input.
        #[test]
        fn hostile_payloads_never_panic(parts in vec(vec(any::<u8>(), 0..60), 3)) {
            let tree = trace_tree::<Lists>();
            let [stored, known, next] = [0, 1, 2].map(|at| &*parts[at]);
            let part = TypePart::of(&tree);
            let _ = merge([stored, known, next], part, &HashSet::new(), &|_| true);
            let _ = changed_names(&parts[0], &parts[1]);
        }

        /// If the type knows every field of the stored value, there is nothing to keep.
        #[test]
        fn a_known_value_adds_nothing(stored: Lists, next: Lists) {
            let (stored, next) = (payload(&stored), payload(&next));
            prop_assert_eq!(merged([&stored, &stored, &next]), None);
        }

        /// If the type does not know any entry and does not write any, every stored entry is kept.
        #[test]
        fn an_unknown_value_stays_whole(stored: Lists) {
            prop_assume!(!stored.is_empty());
            let (stored, nothing) = (payload(&stored), payload(&Lists::new()));
            prop_assert_eq!(merged([&stored, &nothing, &nothing]), Some(stored));
        }
    }
}
