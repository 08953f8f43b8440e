//! [`omitted`] returns the required fields that a payload leaves out.
//!
//! Used by `field_report`. A type may leave out a field, depending on the value, for example with
//! `skip_serializing_if`. A shape does not show this, but a sample does.

use crate::codec::{Node, Part, Shape, text_of};

/// Maximum depth of a value.
const MAX_DEPTH: usize = 128;

/// Returns the fields that `reader` requires and that a MessagePack payload lacks, by their places
/// in the type.
pub(super) fn omitted(reader: &Shape, payload: &[u8]) -> Vec<String> {
    let mut search = Search { omitted: Vec::new(), path: Vec::new(), outer: Vec::new() };
    if let Some(node) = Node::parse(payload) {
        search.value(reader, &node);
    }
    search.omitted
}

struct Search<'s> {
    omitted: Vec<String>,
    path: Vec<&'s str>,
    /// Structs and enums that enclose the current value.
    outer: Vec<&'s Shape>,
}

impl<'s> Search<'s> {
    fn value(&mut self, reader: &'s Shape, node: &Node<'_>) {
        if self.path.len() > MAX_DEPTH {
            return;
        }
        match (reader, node) {
            (Shape::Option(inner), node) => self.value(inner, node),
            (Shape::Seq(element), Node::List(nodes)) => {
                nodes.iter().for_each(|node| self.at("[]", element, node));
            }
            (Shape::Tuple(parts), Node::List(nodes)) => {
                parts.iter().zip(nodes).for_each(|(part, node)| self.at("[]", part, node));
            }
            (Shape::Map(entry), Node::Map(entries)) => {
                entries.iter().for_each(|(_, node)| self.at("value", &entry.1, node));
            }
            (Shape::Struct { fields, .. }, Node::Map(entries)) => {
                self.outer.push(reader);
                for field in fields {
                    match entries.iter().find(|(key, _)| is_named(field, key)) {
                        Some((_, node)) => self.at(&field.name, &field.shape, node),
                        None if field.is_optional => {}
                        None => {
                            let place = [&self.path[..], &[&field.name]].concat().join(".");
                            self.omitted.push(place);
                        }
                    }
                }
                self.outer.pop();
            }
            (Shape::Enum { variants, .. }, Node::Map(entries)) => {
                self.outer.push(reader);
                for (key, node) in entries {
                    let named = variants.iter().find(|variant| is_named(variant, key));
                    if let Some(variant) = named {
                        self.at(&variant.name, &variant.shape, node);
                    }
                }
                self.outer.pop();
            }
            (Shape::Recursion(levels), node) => {
                let Some(at) = self.outer.len().checked_sub(levels + 1) else { return };
                let inner = self.outer.split_off(at);
                self.at("..", inner[0], node);
                self.outer.extend(inner);
            }
            _ => {}
        }
    }

    fn at(&mut self, name: &'s str, reader: &'s Shape, node: &Node<'_>) {
        self.path.push(name);
        self.value(reader, node);
        self.path.pop();
    }
}

/// Returns whether a key in MessagePack is a name of the part.
fn is_named(part: &Part, key: &[u8]) -> bool {
    text_of(key).is_some_and(|name| part.is_read_as(name))
}
