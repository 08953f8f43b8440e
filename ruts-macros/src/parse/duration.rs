//! Parses lifetimes in strings, such as `"30d"` and `"1h 30m"`.
//!
//! Called by `lifetime`. Knows nothing about tokens.

/// The longest `ruts::Ttl`: 100 years.
const MAX_MILLIS: u64 = 100 * 365 * 24 * 60 * 60 * 1000;

const UNITS: [(&str, u64); 6] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];

/// The reason why a string is not a lifetime.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DurationError {
    Empty,
    NotANumber(String),
    NoUnit(String),
    UnknownUnit { number: String, unit: String },
    Zero,
    TooLong,
}

impl std::fmt::Display for DurationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => {
                f.write_str("a lifetime is missing; write one such as \"30d\" or \"1h 30m\"")
            }
            Self::NotANumber(text) => write!(
                f,
                "`{text}` is not a lifetime; write whole numbers with units, such as \"30d\" or \
                 \"1h 30m\""
            ),
            Self::NoUnit(number) => write!(
                f,
                "`{number}` has no unit; write \"{number}s\" for seconds, or one of ms, m, h, d, w"
            ),
            Self::UnknownUnit { number, unit } => match suggestion(unit) {
                Some(days) if days.ends_with("d") && days.len() > 1 => {
                    write!(f, "`{unit}` has no fixed length; write days, such as \"{days}\"")
                }
                Some(meant) => {
                    write!(f, "unknown unit `{unit}`; write \"{number}{meant}\"")
                }
                None => write!(f, "unknown unit `{unit}`; units are ms, s, m, h, d, w"),
            },
            Self::Zero => f.write_str(
                "a lifetime must be longer than zero; leave it out to keep the value as long as \
                 the session",
            ),
            Self::TooLong => f.write_str(
                "a lifetime must be at most 100 years; leave it out to keep the value as long as \
                 the session",
            ),
        }
    }
}

/// Returns the unit that the user probably meant. For months and years, returns a number of days.
fn suggestion(unit: &str) -> Option<&'static str> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "msec" | "msecs" | "millis" | "milliseconds" => "ms",
        "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hr" | "hrs" | "hour" | "hours" | "h" => "h",
        "day" | "days" | "d" => "d",
        "week" | "weeks" | "w" => "w",
        "mo" | "mon" | "month" | "months" => "30d",
        "y" | "yr" | "year" | "years" => "365d",
        _ => return None,
    })
}

/// Returns the lifetime in milliseconds.
pub(super) fn parse(text: &str) -> Result<u64, DurationError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after.trim_start(), char::is_alphabetic);
        if number.is_empty() {
            return Err(DurationError::NotANumber(text.to_owned()));
        }
        if unit.is_empty() {
            return Err(match after.is_empty() {
                true => DurationError::NoUnit(number.to_owned()),
                false => DurationError::NotANumber(text.to_owned()),
            });
        }
        let Some((_, millis)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let (number, unit) = (number.to_owned(), unit.to_owned());
            return Err(DurationError::UnknownUnit { number, unit });
        };
        total = (number.parse::<u64>().ok())
            .and_then(|number| number.checked_mul(*millis))
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= MAX_MILLIS)
            .ok_or(DurationError::TooLong)?;
        rest = after.trim_start();
    }
    if total == 0 { Err(DurationError::Zero) } else { Ok(total) }
}

/// Splits `text` before the first character that `belongs` refuses.
fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        for (text, millis) in [
            ("250ms", 250),
            ("1s", 1000),
            ("10m", 600_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            (" 2 w ", 1_209_600_000),
            ("30d", 2_592_000_000),
            ("36500d", MAX_MILLIS),
        ] {
            assert_eq!(parse(text), Ok(millis), "{text}");
        }
    }

    #[test]
    fn invalid_lifetimes_have_reasons() {
        use DurationError::*;
        for (text, error) in [
            ("", Empty),
            ("  ", Empty),
            ("d", NotANumber("d".into())),
            ("-1d", NotANumber("-1d".into())),
            ("1.5h", NotANumber("1.5h".into())),
            ("30", NoUnit("30".into())),
            ("30days", UnknownUnit { number: "30".into(), unit: "days".into() }),
            ("1h 5", NoUnit("5".into())),
            ("0s", Zero),
            ("0h 0m", Zero),
            ("36501d", TooLong),
            ("99999999999999999999w", TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
