//! [`Coupon`], and its type in the first release.

use serde::{Deserialize, Serialize};

/// The coupon of the first release: percent off the price.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CouponV1(u32);

/// The coupon of the later releases, which may have a limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Coupon {
    percent: u32,
    limit: Option<u32>,
}

impl From<CouponV1> for Coupon {
    fn from(CouponV1(percent): CouponV1) -> Self {
        Self::new(percent)
    }
}

/// The first release does not support limits, so a coupon with a limit cannot be written for it.
impl TryFrom<Coupon> for CouponV1 {
    type Error = ();

    fn try_from(Coupon { percent, limit }: Coupon) -> Result<Self, ()> {
        match limit {
            None => Ok(Self(percent)),
            Some(_) => Err(()),
        }
    }
}

impl CouponV1 {
    /// Returns a coupon.
    pub const fn new(percent: u32) -> Self {
        Self(percent)
    }

    /// Returns the percentage that the coupon takes off the price.
    pub const fn percent(&self) -> u32 {
        self.0
    }
}

impl Coupon {
    /// Returns a coupon without a limit.
    pub const fn new(percent: u32) -> Self {
        Self { percent, limit: None }
    }

    /// Returns the percentage that the coupon takes off the price.
    pub const fn percent(&self) -> u32 {
        self.percent
    }
}
