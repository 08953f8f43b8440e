//! [`merge`]: three-way merge of payloads, so that an `update` keeps unknown fields of a struct.
//!
//! Called by `codec::preserve`. During a deploy, an instance of the previous release may update a
//! value that the new release wrote, and know only some of its fields. The merge keeps the other
//! fields. Not generic, so it is compiled once.

use std::collections::HashSet;

use super::node::{Node, write_head};

/// Maximum length of a list in which an element is also looked up at other positions. Each lookup
/// compares the element with all elements of the list.
const MAX_SEARCHED: usize = 1000;

/// Returns `next` with the fields of `stored` that neither `known` nor `next` has, and with the variants that
/// the caller has not changed. `known` is the payload that this release writes for the value that it read
/// from `stored`.
///
/// `None` if there is nothing to keep, or if a payload is malformed.
pub(in crate::codec) fn merge(
    stored: &[u8],
    known: &[u8],
    next: &[u8],
    rules: Rules,
) -> Option<Vec<u8>> {
    let (stored, known, next_node) =
        (Node::parse(stored)?, Node::parse(known)?, Node::parse(next)?);
    let mut merged = Vec::with_capacity(next.len() + 64);
    merge_nodes([&stored, &known, &next_node], rules, &mut merged);
    (merged != next).then_some(merged)
}

/// Whether to write a field that the stored struct lacks, and that the caller has left at its default. The
/// other release may have renamed the field, with the former name as an alias. It cannot read a value with
/// both names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codec) enum Defaults {
    Write,
    /// Leaves the field out if the stored struct has a field that this release does not know.
    Omit,
}

/// How to merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codec) struct Rules {
    pub(in crate::codec) defaults: Defaults,
    /// A map may be an enum whose variant is a string in it. The unknown fields of a variant do not belong to
    /// another one.
    pub(in crate::codec) has_tags: bool,
}

/// Returns whether two maps can stand for the same variant of an enum: they have the same keys, and the same
/// string in the first entry, where serde writes a tag.
fn is_same_variant(known: &[(&[u8], Node<'_>)], next: &[(&[u8], Node<'_>)]) -> bool {
    let has_same_keys =
        known.len() == next.len() && next.iter().all(|(key, _)| find(known, key).is_some());
    let tag = |entries: &[(&[u8], Node<'_>)]| match entries.first() {
        Some((_, Node::Leaf(leaf))) if is_text(leaf) => Some(leaf.to_vec()),
        _ => None,
    };
    has_same_keys && tag(known) == tag(next)
}

fn merge_nodes(nodes: [&Node<'_>; 3], rules: Rules, out: &mut Vec<u8>) {
    let [stored, known, next] = nodes;
    match (stored, known, next) {
        (Node::Map(stored), Node::Map(known), Node::Map(next))
            if !rules.has_tags || is_same_variant(known, next) =>
        {
            let is_kept = |key| find(known, key).is_none() && find(next, key).is_none();
            let kept: Vec<_> = stored.iter().filter(|(key, _)| is_kept(key)).collect();
            let is_omitted = |key, value| {
                rules.defaults == Defaults::Omit
                    && !kept.is_empty()
                    && find(stored, key).is_none()
                    && find(known, key) == Some(value)
            };
            let next: Vec<_> = next.iter().filter(|(key, value)| !is_omitted(key, value)).collect();
            write_head(out, next.len() + kept.len(), 0x80, 0xde);
            for (key, value) in next {
                out.extend_from_slice(key);
                match (find(stored, key), find(known, key)) {
                    (Some(stored), Some(known)) => {
                        merge_nodes([stored, known, value], rules, out);
                    }
                    _ => value.write(out),
                }
            }
            for (key, value) in kept {
                out.extend_from_slice(key);
                value.write(out);
            }
        }
        (Node::List(stored), Node::List(known), Node::List(next)) if is_part(stored, known) => {
            write_head(out, next.len(), 0x90, 0xdc);
            for (value, from) in next.iter().zip(origins(known, next)) {
                match from {
                    Some(from) => merge_nodes([&stored[from], &known[from], value], rules, out),
                    None => value.write(out),
                }
            }
        }
        // The caller has not changed the string. It may be a variant that this release knows only as
        // `#[serde(other)]`.
        (Node::Leaf(stored), Node::Leaf(known), Node::Leaf(next))
            if known == next && is_text(stored) && is_text(known) =>
        {
            out.extend_from_slice(stored);
        }
        _ => next.write(out),
    }
}

/// Returns for each element of `next` the index of the element of `known` that it was before.
///
/// Equal elements come first: at the same index if both lists have the same length, else in the order of the
/// list, else anywhere. An element that equals no other has been changed at its index, if both lists have the
/// same length.
fn origins(known: &[Node<'_>], next: &[Node<'_>]) -> Vec<Option<usize>> {
    let has_same_len = known.len() == next.len();
    let mut origins = vec![None; next.len()];
    let mut is_used = vec![false; known.len()];
    if has_same_len {
        for at in (0..next.len()).filter(|&at| known[at] == next[at]) {
            (origins[at], is_used[at]) = (Some(at), true);
        }
    }
    let mut after = 0;
    for (at, value) in next.iter().enumerate().filter(|_| known.len() <= MAX_SEARCHED) {
        let is_same = |from: &usize| !is_used[*from] && known[*from] == *value;
        if origins[at].is_none()
            && let Some(from) =
                (after..known.len()).find(is_same).or_else(|| (0..after).find(is_same))
        {
            (origins[at], is_used[from], after) = (Some(from), true, from + 1);
        }
    }
    if has_same_len {
        for at in (0..next.len()).filter(|at| !is_used[*at]) {
            origins[at] = origins[at].or(Some(at));
        }
    }
    origins
}

/// Strings that differ between `stored` and `known`. They may be variants that this release knows only as
/// `#[serde(other)]`.
#[derive(Default)]
struct Renamed<'b> {
    stored: HashSet<&'b [u8]>,
    known: HashSet<&'b [u8]>,
}

impl<'b> Renamed<'b> {
    /// Returns whether `known` can have been read from `stored`: they are equal, except for strings, and for
    /// fields that one of them lacks.
    fn add(&mut self, stored: &Node<'b>, known: &Node<'b>) -> bool {
        match (stored, known) {
            (Node::Map(stored), Node::Map(known)) => stored
                .iter()
                .all(|(key, value)| find(known, key).is_none_or(|known| self.add(value, known))),
            (Node::List(stored), Node::List(known)) => {
                is_reordered(stored, known) || self.add_all(stored, known)
            }
            (Node::Leaf(stored), Node::Leaf(known)) if stored != known => {
                self.stored.insert(stored);
                self.known.insert(known);
                is_text(stored) && is_text(known)
            }
            // The releases write bytes in different forms.
            (Node::Leaf(_), Node::List(_)) | (Node::List(_), Node::Leaf(_)) => true,
            (stored, known) => stored == known,
        }
    }

    fn add_all(&mut self, stored: &[Node<'b>], known: &[Node<'b>]) -> bool {
        stored.len() == known.len()
            && stored.iter().zip(known).all(|(stored, known)| self.add(stored, known))
    }
}

/// Returns whether two lists have the same elements in different orders, as a `HashSet` inside an element does.
fn is_reordered(stored: &[Node<'_>], known: &[Node<'_>]) -> bool {
    let sorted = |nodes: &[Node<'_>]| {
        let mut written: Vec<Vec<u8>> = nodes.iter().map(Node::to_vec).collect();
        written.sort_unstable();
        written
    };
    stored.len() == known.len() && stored != known && sorted(stored) == sorted(known)
}

/// Returns whether a leaf is a string, as a variant without a value is.
fn is_text(leaf: &[u8]) -> bool {
    matches!(leaf.first(), Some(0xa0..=0xbf | 0xd9..=0xdb))
}

fn find<'a, 'b>(entries: &'a [(&'b [u8], Node<'b>)], key: &[u8]) -> Option<&'a Node<'b>> {
    entries.iter().find(|(other, _)| *other == key).map(|(_, value)| value)
}

/// Returns whether each element of `known` can have been read from the element of `stored` at the
/// same index. `false` for a `HashSet` whose elements were written in another order, because a string of
/// `known` is then in `stored` at another index.
fn is_part<'b>(stored: &[Node<'b>], known: &[Node<'b>]) -> bool {
    let mut renamed = Renamed::default();
    renamed.add_all(stored, known) && renamed.stored.is_disjoint(&renamed.known)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    const RULES: Rules = Rules { defaults: Defaults::Omit, has_tags: false };

    type Lists = BTreeMap<String, Vec<Option<u32>>>;

    fn payload(value: &Lists) -> Vec<u8> {
        rmp_serde::to_vec_named(value).unwrap()
    }

    proptest! {
        /// Stored values are untrusted input.
        #[test]
        fn hostile_payloads_never_panic(parts in vec(vec(any::<u8>(), 0..60), 3)) {
            for defaults in [Defaults::Write, Defaults::Omit] {
                for has_tags in [false, true] {
                    let rules = Rules { defaults, has_tags };
                    let _ = merge(&parts[0], &parts[1], &parts[2], rules);
                }
            }
        }

        /// If the type knows every field of the stored value, there is nothing to keep.
        #[test]
        fn a_known_value_adds_nothing(stored: Lists, next: Lists) {
            let (stored, next) = (payload(&stored), payload(&next));
            prop_assert_eq!(merge(&stored, &stored, &next, RULES), None);
        }

        /// If the type knows no entry and writes none, every stored entry is kept.
        #[test]
        fn an_unknown_value_stays_whole(stored: Lists) {
            prop_assume!(!stored.is_empty());
            let (stored, nothing) = (payload(&stored), payload(&Lists::new()));
            prop_assert_eq!(merge(&stored, &nothing, &nothing, RULES), Some(stored));
        }
    }
}
