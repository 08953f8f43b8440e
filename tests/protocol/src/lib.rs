//! A model of the protocol by which `ruts::store::layered::LayeredStore` keeps two tiers in step, for
//! one session with two fields: a truth that keeps what it is given (cold), and before it a cache that
//! may lose anything (hot). Every interleaving of writers, readers and a deleter is searched, with
//! commands that fail, come late or twice, processes that die, and a cache that forgets or goes back in
//! time. The protocol must hold. The shapes that are written instead, and the protocol with any one of
//! its parts left out, must be found broken, or the search would prove nothing.

mod hot;
mod search;
mod world;

pub use self::{
    hot::{BOTH, Mask, ONE, Shape},
    search::{Outcome, search},
    world::{Breach, Event, Play, Setting},
};
