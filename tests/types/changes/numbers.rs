//! Changes of numbers, strings and other values without parts.

use std::time::Duration;

use super::change;
use crate::change::Change;

pub(super) fn changes() -> Vec<Change> {
    vec![
        change!("u8 to u32": u8 => u32, |n| Some(n.into()), |n| n.try_into().ok()),
        change!("u16 to u32": u16 => u32, |n| Some(n.into()), |n| n.try_into().ok()),
        change!("u32 to u64": u32 => u64, |n| Some(n.into()), |n| n.try_into().ok()),
        change!("u64 to u32": u64 => u32, |n| n.try_into().ok(), |n| Some(n.into())),
        change!("u64 to u128": u64 => u128, |n| Some(n.into()), |n| n.try_into().ok()),
        change!("i32 to i64": i32 => i64, |n| Some(n.into()), |n| n.try_into().ok()),
        change!("u32 to i32": u32 => i32, |n| n.try_into().ok(), |n| n.try_into().ok()),
        change!("u32 to i64": u32 => i64, |n| Some(n.into()), |n| n.try_into().ok()),
        change!("usize to u32": usize => u32, |n| n.try_into().ok(), |n| n.try_into().ok()),
        change!("u32 to f64": u32 => f64, |n| Some(n.into()), |n| {
            let whole = n as u32;
            (f64::from(whole) == n).then_some(whole)
        }),
        change!("f32 to f64": f32 => f64, |n| Some(n.into()), |n| {
            let short = n as f32;
            (f64::from(short) == n || n.is_nan()).then_some(short)
        }),
        change!("i8 to i32": i8 => i32, |n| Some(n.into()), |n| n.try_into().ok()),
        change!("bool to u8": bool => u8, |b| Some(b.into()), |n| (n < 2).then_some(n == 1)),
        change!("u64 to String": u64 => String, |n| Some(n.to_string()), |s| s.parse().ok()),
        change!("char to String": char => String, |c| Some(c.into()), |s| {
            let mut chars = s.chars();
            chars.next().filter(|_| chars.next().is_none())
        }),
        change!("u64 of seconds to Duration": u64 => Duration,
            |seconds| Some(Duration::from_secs(seconds)),
            |duration| (duration.subsec_nanos() == 0).then_some(duration.as_secs())),
    ]
}
