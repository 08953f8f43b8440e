//! Writes a shape as one line of a lock.
//!
//! Used by the other files here. `codec::shape::text` documents and parses the grammar.

use std::fmt::{self, Write};

use crate::codec::{Part, Shape};

pub(super) fn write(shape: &Shape, out: &mut impl Write) -> fmt::Result {
    match shape {
        Shape::Leaf(word) => out.write_str(word),
        Shape::Option(inner) => {
            out.write_str("option<")?;
            write(inner, out)?;
            out.write_char('>')
        }
        Shape::Seq(inner) => {
            out.write_char('[')?;
            write(inner, out)?;
            out.write_char(']')
        }
        Shape::Map(entry) => {
            out.write_str("map<")?;
            write(&entry.0, out)?;
            out.write_str(", ")?;
            write(&entry.1, out)?;
            out.write_char('>')
        }
        Shape::Tuple(parts) => {
            out.write_char('(')?;
            for (at, part) in parts.iter().enumerate() {
                out.write_str(if at == 0 { "" } else { ", " })?;
                write(part, out)?;
            }
            out.write_char(')')
        }
        Shape::Struct { fields, is_closed, .. } => {
            out.write_str(if *is_closed { "{!" } else { "{" })?;
            for (at, field) in fields.iter().enumerate() {
                out.write_str(if at == 0 && !is_closed { "" } else { ", " })?;
                write_names(field, out)?;
                out.write_str(if field.is_optional { "?: " } else { ": " })?;
                write(&field.shape, out)?;
            }
            out.write_char('}')
        }
        Shape::Enum { variants, has_other, .. } => {
            out.write_char('<')?;
            for (at, variant) in variants.iter().enumerate() {
                out.write_str(if at == 0 { "" } else { " / " })?;
                write_names(variant, out)?;
                if variant.shape != Shape::Leaf("unit") {
                    out.write_char(' ')?;
                    write(&variant.shape, out)?;
                }
            }
            out.write_str(if *has_other { " / *>" } else { ">" })
        }
        Shape::TwoForms(inner) => {
            out.write_str("text<")?;
            write(inner, out)?;
            out.write_char('>')
        }
        Shape::Recursion(levels) => write!(out, "^{levels}"),
    }
}

pub(super) fn text(shape: &Shape) -> String {
    let mut text = String::new();
    // Writing to a `String` never fails.
    let _ = write(shape, &mut text);
    text
}

fn write_names(part: &Part, out: &mut impl Write) -> fmt::Result {
    write_name(&part.name, out)?;
    for alias in &part.aliases {
        out.write_char('|')?;
        write_name(alias, out)?;
    }
    Ok(())
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

/// Writes a name: plain, or as a JSON string.
pub(super) fn write_name(name: &str, out: &mut impl Write) -> fmt::Result {
    match is_plain(name) {
        true => out.write_str(name),
        // Every string can be written as JSON.
        false => out.write_str(&serde_json::to_string(name).unwrap_or_default()),
    }
}
