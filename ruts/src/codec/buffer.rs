//! [`Buffer`]: the bytes that the codecs append a value to.

use smallvec::SmallVec;

/// Holds up to 56 bytes in place. Sharing the value afterwards is then the only allocation.
pub(super) type Buffer = SmallVec<[u8; 56]>;
