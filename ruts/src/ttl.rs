//! [`Ttl`]: a lifetime that is neither zero nor longer than 100 years.
//!
//! Used everywhere. Knows nothing about sessions or fields.

use std::{fmt, num::NonZeroU64, time::Duration};

/// Lifetime of a session or a value: whole milliseconds, above zero, at most [`Ttl::MAX`].
///
/// ```
/// use std::time::Duration;
/// use ruts::Ttl;
///
/// const WEEK: Ttl = Ttl::from_secs(7 * 24 * 60 * 60);
/// assert_eq!(WEEK.as_duration(), Duration::from_secs(604_800));
/// assert!(Ttl::new(Duration::ZERO).is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(NonZeroU64);

const MAX_MILLIS: u64 = 100 * 365 * 24 * 60 * 60 * 1000;

impl Ttl {
    /// Maximum lifetime: one hundred years. It is longer than any session needs, and short enough
    /// for the arithmetic of every backend.
    pub const MAX: Self = Self::from_millis(MAX_MILLIS);

    /// Creates a lifetime of `duration`, rounded up to a whole millisecond.
    ///
    /// # Errors
    ///
    /// `duration` is zero or above [`Ttl::MAX`].
    pub const fn new(duration: Duration) -> Result<Self, TtlError> {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        if millis > MAX_MILLIS as u128 {
            return Err(TtlError::TooLong);
        }
        match NonZeroU64::new(millis as u64) {
            Some(millis) => Ok(Self(millis)),
            None => Err(TtlError::Zero),
        }
    }

    /// Creates a lifetime of `secs` seconds, for constants.
    ///
    /// # Panics
    ///
    /// Panics if `secs` is zero or above [`Ttl::MAX`]. In a constant, this is a compile error.
    #[track_caller]
    pub const fn from_secs(secs: u64) -> Self {
        Self::from_duration(Duration::from_secs(secs))
    }

    /// Creates a lifetime of `millis` milliseconds, for constants.
    ///
    /// # Panics
    ///
    /// Panics if `millis` is zero or above [`Ttl::MAX`]. In a constant, this is a compile error.
    #[track_caller]
    pub const fn from_millis(millis: u64) -> Self {
        Self::from_duration(Duration::from_millis(millis))
    }

    /// Creates a lifetime of `duration`, for constants. The same as [`Ttl::new`], but panics
    /// instead of returning an error.
    ///
    /// ```compile_fail,E0080
    /// use std::time::Duration;
    ///
    /// const NEVER: ruts::Ttl = ruts::Ttl::from_duration(Duration::ZERO);
    /// # let _ = NEVER;
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if `duration` is zero or above [`Ttl::MAX`]. In a constant, this is a compile error.
    #[track_caller]
    pub const fn from_duration(duration: Duration) -> Self {
        match Self::new(duration) {
            Ok(ttl) => ttl,
            Err(TtlError::Zero) => panic!("a lifetime must be longer than zero"),
            Err(TtlError::TooLong) => panic!("a lifetime must be at most 100 years"),
        }
    }

    /// Returns the lifetime in milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0.get()
    }

    /// Returns the lifetime as a [`Duration`].
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0.get())
    }
}

impl fmt::Debug for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ttl({:?})", self.as_duration())
    }
}

impl TryFrom<Duration> for Ttl {
    type Error = TtlError;

    fn try_from(duration: Duration) -> Result<Self, Self::Error> {
        Self::new(duration)
    }
}

/// The reason why a duration is not a [`Ttl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TtlError {
    /// The duration is zero. Remove the field or delete the session instead.
    #[error("a lifetime must be longer than zero")]
    Zero,
    /// The duration is above [`Ttl::MAX`].
    #[error("a lifetime must be at most 100 years")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_have_bounds() {
        assert_eq!(Ttl::new(Duration::ZERO), Err(TtlError::Zero));
        assert_eq!(Ttl::new(Duration::MAX), Err(TtlError::TooLong));
        assert_eq!(Ttl::new(Ttl::MAX.as_duration()), Ok(Ttl::MAX));
        assert_eq!(
            Ttl::new(Ttl::MAX.as_duration() + Duration::from_nanos(1)),
            Err(TtlError::TooLong)
        );
    }

    #[test]
    fn a_part_of_a_millisecond_is_rounded_up() {
        assert_eq!(Ttl::new(Duration::from_nanos(1)), Ok(Ttl::from_millis(1)));
    }
}
