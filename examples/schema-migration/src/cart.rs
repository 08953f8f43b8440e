//! [`Cart`], and its type in the first release.

use serde::{Deserialize, Serialize};

/// The cart of the first release: one string for each item.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CartV1(Vec<String>);

/// The cart of the later releases: one line for each product.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cart {
    lines: Vec<Line>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    product: String,
    pieces: usize,
}

impl From<CartV1> for Cart {
    fn from(CartV1(pieces): CartV1) -> Self {
        let mut cart = Self::default();
        pieces.into_iter().for_each(|product| cart.add(product));
        cart
    }
}

/// The conversion back, for the bridge release.
impl From<Cart> for CartV1 {
    fn from(Cart { lines }: Cart) -> Self {
        let pieces = |Line { product, pieces }| std::iter::repeat_n(product, pieces);
        Self(lines.into_iter().flat_map(pieces).collect())
    }
}

impl CartV1 {
    /// Adds one unit of a product.
    pub fn add(&mut self, product: String) {
        self.0.push(product);
    }

    /// Returns the number of units.
    pub fn pieces(&self) -> usize {
        self.0.len()
    }
}

impl Cart {
    /// Adds one unit of a product.
    pub fn add(&mut self, product: String) {
        match self.lines.iter_mut().find(|line| line.product == product) {
            Some(line) => line.pieces += 1,
            None => self.lines.push(Line { product, pieces: 1 }),
        }
    }

    /// Returns the number of units.
    pub fn pieces(&self) -> usize {
        self.lines.iter().map(|line| line.pieces).sum()
    }
}
