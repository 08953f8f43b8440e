//! Parses a shape from one line of a lock.
//!
//! Called by `by_names` and by the lock of `testing`, whose `text` writes this format.
//!
//! ```text
//! {items: [{sku: str, qty: u32}], total|sum?: option<u32>}  a struct; `|` an alias, `?` optional
//! {!, id: u64}                                               unknown fields are refused
//! <Cash / Card u32 / Parcel {width: u32} / *>                an enum; `*` any other variant
//! (u8, str)  map<str, u32>  ^1                               a tuple, a map, recursion
//! text<bytes>                                                text (MessagePack) or bytes (bincode)
//! ```

use super::structure::{Part, Shape};

/// Maximum nesting depth of a shape in a lock.
const MAX_DEPTH: usize = 128;

/// Reads a shape from the start of a string, and returns it with the rest. `None` without a shape.
pub(crate) fn parse(text: &str) -> Option<(Shape, &str)> {
    let mut parser = Parser { rest: text, depth: 0 };
    let shape = parser.shape()?;
    Some((shape, parser.rest))
}

/// Reads a name from the start of a string, and returns it with the rest.
pub(crate) fn parse_name(text: &str) -> Option<(String, &str)> {
    let mut parser = Parser { rest: text, depth: 0 };
    let name = parser.name()?;
    Some((name, parser.rest))
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.trim_start_matches(' ').strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, text: &str) -> Option<()> {
        self.eat(text).then_some(())
    }

    fn name(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start_matches(' ');
        if self.rest.starts_with('"') {
            let mut names = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
            let name = names.next()?.ok()?;
            self.rest = self.rest.get(names.byte_offset()..)?;
            return Some(name);
        }
        let end = self.rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_');
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        (!name.is_empty()).then(|| name.to_owned())
    }

    fn shape(&mut self) -> Option<Shape> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let shape = self.shape_inside();
        self.depth -= 1;
        shape
    }

    fn shape_inside(&mut self) -> Option<Shape> {
        if self.eat("[") {
            let inner = self.shape()?;
            self.expect("]")?;
            return Some(Shape::Seq(Box::new(inner)));
        }
        if self.eat("(") {
            let mut parts = Vec::new();
            while !self.eat(")") {
                if !parts.is_empty() {
                    self.expect(",")?;
                }
                parts.push(self.shape()?);
            }
            return Some(Shape::Tuple(parts));
        }
        if self.eat("^") {
            let levels = self.name()?.parse().ok()?;
            return Some(Shape::Recursion(levels));
        }
        if self.eat("{") {
            return self.fields();
        }
        if self.eat("<") {
            return self.variants();
        }
        if self.eat("option<") {
            let inner = self.shape()?;
            self.expect(">")?;
            return Some(Shape::Option(Box::new(inner)));
        }
        if self.eat("text<") {
            let inner = self.shape()?;
            self.expect(">")?;
            return Some(Shape::TwoForms(Box::new(inner)));
        }
        if self.eat("map<") {
            let key = self.shape()?;
            self.expect(",")?;
            let value = self.shape()?;
            self.expect(">")?;
            return Some(Shape::Map(Box::new((key, value))));
        }
        let word = self.name()?;
        Shape::LEAVES.into_iter().find(|leaf| *leaf == word).map(Shape::Leaf)
    }

    fn part(&mut self) -> Option<Part> {
        let name = self.name()?;
        let mut aliases = Vec::new();
        while self.eat("|") {
            aliases.push(self.name()?);
        }
        Some(Part { name, aliases, is_optional: false, shape: Shape::Leaf("unit") })
    }

    fn fields(&mut self) -> Option<Shape> {
        let is_closed = self.eat("!");
        let mut fields: Vec<Part> = Vec::new();
        while !self.eat("}") {
            if is_closed || !fields.is_empty() {
                self.expect(",")?;
            }
            let mut field = self.part()?;
            field.is_optional = self.eat("?");
            self.expect(":")?;
            field.shape = self.shape()?;
            fields.push(field);
        }
        Some(Shape::Struct { fields, loose: Vec::new(), is_closed })
    }

    fn variants(&mut self) -> Option<Shape> {
        let (mut variants, mut has_other) = (Vec::new(), false);
        while !self.eat(">") {
            if !variants.is_empty() {
                self.expect("/")?;
            }
            has_other = self.eat("*");
            if has_other {
                continue;
            }
            let mut variant = self.part()?;
            if !self.rest.trim_start_matches(' ').starts_with(['/', '>']) {
                variant.shape = self.shape()?;
            }
            variants.push(variant);
        }
        Some(Shape::Enum { variants, loose: Vec::new(), has_other })
    }
}
