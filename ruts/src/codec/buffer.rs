//! [`Buffer`]: the output buffer of an encoder.
//!
//! Created by `value`, filled by the codecs. Knows nothing about formats.

use smallvec::SmallVec;

/// Holds up to 56 bytes inline. `Bytes::from_owner` then makes the only allocation.
pub(super) type Buffer = SmallVec<[u8; 56]>;
