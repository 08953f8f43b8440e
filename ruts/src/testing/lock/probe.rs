//! [`resolve`]: finds the aliases, defaults and refused names of a type by changing its values.
//!
//! Called by `describe`. A tracer learns the structure of a type, but not which fields are
//! optional. So a value is encoded, changed and decoded again: without a field, with a renamed
//! field, with an unknown field.

use std::collections::BTreeMap;

use crate::codec::{Node, Part, Shape};

/// A name that is not the name of a field or a variant.
const NO_NAME: &str = "no such name";

/// Reads a payload as a value of the type, and writes that value again. `None` if the type refuses
/// the payload.
pub(super) type Reread<'a> = &'a dyn Fn(&[u8]) -> Option<Vec<u8>>;

/// Completes a shape with the details that the payloads of some values show.
pub(super) fn resolve(shape: &mut Shape, payloads: &[Vec<u8>], reread: Reread<'_>) {
    let nodes: Vec<Node<'_>> = payloads.iter().filter_map(|payload| Node::parse(payload)).collect();
    let places = nodes.iter().map(|root| Place { root, path: Vec::new() }).collect();
    Probe { reread }.shape(shape, places);
}

/// A part of a value: the whole value, and the path to the part. The parts of a list are its
/// elements, and the parts of a map are its values.
#[derive(Clone)]
struct Place<'a, 'b> {
    root: &'a Node<'b>,
    path: Vec<usize>,
}

impl<'a, 'b> Place<'a, 'b> {
    fn node(&self) -> Option<&'a Node<'b>> {
        self.path.iter().try_fold(self.root, |node, &at| match node {
            Node::Map(entries) => entries.get(at).map(|(_, value)| value),
            Node::List(elements) => elements.get(at),
            Node::Leaf(_) => None,
        })
    }

    fn part(&self, at: usize) -> Self {
        let mut path = self.path.clone();
        path.push(at);
        Self { root: self.root, path }
    }

    /// Returns the payload of the whole value, with `change` applied to this part.
    fn with<'c>(&self, change: impl FnOnce(&mut Node<'c>)) -> Vec<u8>
    where
        'b: 'c,
    {
        let mut root: Node<'c> = self.root.clone();
        let mut node = Some(&mut root);
        for &at in &self.path {
            node = node.and_then(|node| match node {
                Node::Map(entries) => entries.get_mut(at).map(|(_, value)| value),
                Node::List(elements) => elements.get_mut(at),
                Node::Leaf(_) => None,
            });
        }
        if let Some(node) = node {
            change(node);
        }
        let mut payload = Vec::new();
        root.write(&mut payload);
        payload
    }

    fn payload(&self) -> Vec<u8> {
        self.with(|_| ())
    }

    fn entries(&self) -> &'a [(&'b [u8], Node<'b>)] {
        match self.node() {
            Some(Node::Map(entries)) => entries,
            _ => &[],
        }
    }

    fn elements(&self) -> &'a [Node<'b>] {
        match self.node() {
            Some(Node::List(elements)) => elements,
            _ => &[],
        }
    }

    /// Returns the index of the entry with this name.
    fn position(&self, name: &str) -> Option<usize> {
        self.entries().iter().position(|(key, _)| *key == text(name))
    }

    /// Returns the name of the variant at this place, and the place of the variant's value.
    fn variant(&self) -> Option<(&'b [u8], Option<Self>)> {
        match self.node()? {
            Node::Leaf(name) => Some((name, None)),
            Node::Map(entries) => match entries[..] {
                [(name, _)] => Some((name, Some(self.part(0)))),
                _ => None,
            },
            Node::List(_) => None,
        }
    }
}

/// Encodes a string as MessagePack.
fn text(text: &str) -> Vec<u8> {
    let len = text.len();
    let mut bytes = match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..32), _) => vec![0xa0 | len],
        (Ok(len), _) => vec![0xd9, len],
        (_, Ok(len)) => [&[0xda][..], &len.to_be_bytes()].concat(),
        // The length of a name fits into a `u32`: a value takes at most 16 MiB.
        _ => [&[0xdb][..], &(len as u32).to_be_bytes()].concat(),
    };
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

struct Probe<'a> {
    reread: Reread<'a>,
}

impl Probe<'_> {
    fn is_read(&self, payload: &[u8]) -> bool {
        (self.reread)(payload).is_some()
    }

    fn shape(&self, shape: &mut Shape, places: Vec<Place<'_, '_>>) {
        let elements = |place: &Place<'_, '_>| place.elements().len();
        match shape {
            // MessagePack holds the text of a type with two forms, which has no parts.
            Shape::Leaf(_) | Shape::TwoForms(_) | Shape::Recursion(_) => {}
            Shape::Option(inner) => {
                let is_nil =
                    |place: &Place<'_, '_>| matches!(place.node(), Some(Node::Leaf([0xc0])) | None);
                let places = places.into_iter().filter(|place| !is_nil(place)).collect();
                self.shape(inner, places);
            }
            Shape::Seq(inner) => {
                let parts =
                    places.iter().flat_map(|place| (0..elements(place)).map(|at| place.part(at)));
                self.shape(inner, parts.collect());
            }
            Shape::Tuple(parts) => {
                for (at, part) in parts.iter_mut().enumerate() {
                    let places = places.iter().filter(|place| elements(place) > at);
                    self.shape(part, places.map(|place| place.part(at)).collect());
                }
            }
            Shape::Map(entry) => {
                self.keys(&mut entry.0, &places);
                let parts = places
                    .iter()
                    .flat_map(|place| (0..place.entries().len()).map(|at| place.part(at)));
                self.shape(&mut entry.1, parts.collect());
            }
            Shape::Struct { fields, loose, is_closed } => {
                if let Some(place) = places.iter().find(|place| !place.entries().is_empty()) {
                    name_parts(fields, loose, &keys_of(&places));
                    self.fields(fields, std::mem::take(loose), &places);
                    let (name, value) = (text(NO_NAME), [0xc0]);
                    let unknown = place.with(|node| {
                        if let Node::Map(entries) = node {
                            entries.push((&name, Node::Leaf(&value)));
                        }
                    });
                    *is_closed = self.is_read(&place.payload()) && !self.is_read(&unknown);
                }
                for field in fields {
                    let parts = places
                        .iter()
                        .filter_map(|place| place.position(&field.name).map(|at| place.part(at)));
                    self.shape(&mut field.shape, parts.collect());
                }
            }
            Shape::Enum { variants, loose, has_other } => {
                let mut found: BTreeMap<&[u8], Vec<Place<'_, '_>>> = BTreeMap::new();
                for place in &places {
                    let Some((name, value)) = place.variant() else { continue };
                    found.entry(name).or_default().extend(value);
                }
                let written: Vec<_> = found.keys().copied().collect();
                name_parts(variants, loose, &written);
                let loose = std::mem::take(loose);
                for variant in variants.iter_mut() {
                    let is_it = |place: &&Place<'_, '_>| {
                        place.variant().is_some_and(|(name, _)| name == text(&variant.name))
                    };
                    if let Some(place) = places.iter().find(is_it) {
                        let is_alias = |name: &&String| self.is_variant(place, name);
                        variant.aliases = loose.iter().filter(is_alias).cloned().collect();
                        variant.aliases.retain(|alias| *alias != variant.name);
                    }
                    let places = found.remove(&text(&variant.name)[..]).unwrap_or_default();
                    self.shape(&mut variant.shape, places);
                }
                *has_other = places.iter().any(|place| {
                    let name = text(NO_NAME);
                    matches!(place.node(), Some(Node::Leaf(_)))
                        && self.is_read(&place.with(|node| *node = Node::Leaf(&name)))
                });
            }
        }
    }

    /// Finds the names and aliases of variants that are keys of a map.
    fn keys(&self, shape: &mut Shape, places: &[Place<'_, '_>]) {
        let Shape::Enum { variants, loose, has_other } = shape else { return };
        name_parts(variants, loose, &keys_of(places));
        let loose = std::mem::take(loose);
        for variant in variants {
            let found =
                places.iter().find_map(|place| Some((place, place.position(&variant.name)?)));
            let Some((place, at)) = found else { continue };
            let with_key = |name: &str| {
                let key = text(name);
                (self.reread)(&place.with(|node| {
                    if let Node::Map(entries) = node {
                        entries[at].0 = &key;
                    }
                }))
            };
            let is_alias = |name: &&String| with_key(name) == Some(place.payload());
            variant.aliases = loose.iter().filter(is_alias).cloned().collect();
            variant.aliases.retain(|alias| *alias != variant.name);
            *has_other |= with_key(NO_NAME).is_some();
        }
    }

    /// Finds aliases, and the fields that may be missing. Some values may leave fields out.
    fn fields(&self, fields: &mut [Part], loose: Vec<String>, places: &[Place<'_, '_>]) {
        for field in fields {
            let is_without = |place: &&Place<'_, '_>| {
                !place.entries().is_empty() && place.position(&field.name).is_none()
            };
            let without = places.iter().find(is_without);
            field.is_optional = without.is_some_and(|place| self.is_read(&place.payload()));
            let found = places.iter().find_map(|place| Some((place, place.position(&field.name)?)));
            let Some((place, at)) = found else { continue };
            let payload = place.payload();
            for name in &loose {
                let key = text(name);
                let renamed = place.with(|node| {
                    if let Node::Map(entries) = node {
                        entries[at].0 = &key;
                    }
                });
                let is_alias = (self.reread)(&renamed).is_some_and(|written| written == payload);
                if is_alias && *name != field.name {
                    field.aliases.push(name.clone());
                }
            }
            let without = place.with(|node| {
                if let Node::Map(entries) = node {
                    entries.remove(at);
                }
            });
            field.is_optional |= self.is_read(&without);
        }
    }

    /// Returns whether the type reads the same value if the variant has this other name.
    fn is_variant(&self, place: &Place<'_, '_>, name: &str) -> bool {
        let key = text(name);
        let renamed = place.with(|node| match node {
            Node::Leaf(name) => *name = &key,
            Node::Map(entries) => entries[0].0 = &key,
            Node::List(_) => {}
        });
        (self.reread)(&renamed).is_some_and(|written| written == place.payload())
    }
}

/// Returns the keys that any of the values has.
fn keys_of<'b>(places: &[Place<'_, 'b>]) -> Vec<&'b [u8]> {
    places.iter().flat_map(|place| place.entries()).map(|(key, _)| *key).collect()
}

/// Corrects the names of fields or variants, because some of them may be aliases. The values show
/// which names are written. Parts and names are in the order of the declaration.
fn name_parts(parts: &mut [Part], loose: &[String], written: &[&[u8]]) {
    let names = loose.iter().filter(|name| written.contains(&&text(name)[..]));
    if !loose.is_empty() && names.clone().count() == parts.len() {
        for (part, name) in parts.iter_mut().zip(names) {
            part.name.clone_from(name);
        }
    }
}
