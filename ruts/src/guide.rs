//! The guide: from a first app to operating it. Its examples are tests.
//!
#![doc = include_str!("guide_links.md")]
#![doc = include_str!("../docs/guide/README.md")]

// The pages are in `docs/guide`. A page defines its links at its end, for readers of the
// repository. `guide_links.md` defines the same labels for rustdoc. That file is included first,
// because Markdown takes the first definition of a label.

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/first-app.md")]
pub mod first_app {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/fields.md")]
pub mod fields {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/changing-types.md")]
pub mod changing_types {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/signing-in.md")]
pub mod signing_in {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/stores.md")]
pub mod stores {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/testing.md")]
pub mod testing {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/deploying.md")]
pub mod deploying {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/operating.md")]
pub mod operating {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/own-store.md")]
pub mod own_store {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/comparison.md")]
pub mod comparison {}

// The code blocks of the following pages are tested in the crates that the pages describe.

#[cfg(not(doctest))]
#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/moving.md")]
pub mod moving {}

#[cfg(not(doctest))]
#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/on-tower-sessions.md")]
pub mod on_tower_sessions {}
