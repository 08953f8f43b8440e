//! [`Lifetimes`]: the text of `SessionLayer::describe`, and the limits of NIST SP 800-63B-4.
//!
//! Used by `config`. Knows nothing about sessions or requests.

use std::{fmt, time::Duration};

use crate::{
    store::{OnLimit, SessionLimit},
    ttl::Ttl,
};

/// The limits of an authentication assurance level of NIST SP 800-63B-4.
pub(super) struct Level {
    pub(super) name: &'static str,
    pub(super) idle: Option<Ttl>,
    pub(super) absolute: Ttl,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

pub(super) const AAL1: Level =
    Level { name: "AAL1", idle: None, absolute: Ttl::from_secs(30 * DAY) };
pub(super) const AAL2: Level =
    Level { name: "AAL2", idle: Some(Ttl::from_secs(HOUR)), absolute: Ttl::from_secs(24 * HOUR) };
pub(super) const AAL3: Level = Level {
    name: "AAL3",
    idle: Some(Ttl::from_secs(15 * MINUTE)),
    absolute: Ttl::from_secs(12 * HOUR),
};

/// The lifetimes of a layer, described as text.
pub(super) struct Lifetimes {
    pub(super) idle: Option<Ttl>,
    pub(super) absolute: Option<Ttl>,
    /// How long the client keeps the cookie. `None`: until the browser is closed.
    pub(super) cookie: Option<Ttl>,
    /// Age at which a secret is renewed, and grace period of the former secret.
    pub(super) renewal: Option<(Ttl, Duration)>,
    pub(super) limit: Option<SessionLimit>,
}

impl Lifetimes {
    fn are_within(&self, level: &Level) -> bool {
        let within = |own: Option<Ttl>, limit: Ttl| own.is_some_and(|own| own <= limit);
        within(self.absolute, level.absolute)
            && level.idle.is_none_or(|limit| within(self.idle, limit))
    }
}

impl fmt::Display for Lifetimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.idle {
            Some(idle) => writeln!(
                f,
                "A session ends after {} without use. A use restarts that time once an eighth of it \
                 has passed.",
                Spelled(idle.as_duration())
            )?,
            None => writeln!(f, "Sessions have no idle timeout.")?,
        }
        match self.absolute {
            Some(absolute) => writeln!(
                f,
                "A session ends {} after its start, even if it is in use.",
                Spelled(absolute.as_duration())
            )?,
            None => writeln!(f, "Sessions have no absolute timeout.")?,
        }
        writeln!(f, "A new sign-in restarts both.")?;
        match self.cookie {
            Some(life) => writeln!(
                f,
                "The browser keeps the cookie for {}. Use extends it until the session ends.",
                Spelled(life.as_duration())
            )?,
            None => writeln!(f, "The cookie ends with the browser.")?,
        }
        writeln!(
            f,
            "A remembered sign-in keeps the cookie and the session for longer. When the times above \
             have passed, the sign-in counts only as remembered, which is below AAL1."
        )?;
        if let Some((every, grace)) = self.renewal {
            writeln!(
                f,
                "The secret is renewed every {}. The former secret works for {} after the first use \
                 of the new one.",
                Spelled(every.as_duration()),
                Spelled(grace)
            )?;
        }
        match self.limit {
            Some(SessionLimit { sessions, on_limit }) => {
                let then = match on_limit {
                    OnLimit::Reject => "A further sign-in is refused",
                    OnLimit::EndOldest => "A further sign-in ends the oldest session",
                };
                writeln!(f, "A user has at most {sessions} sessions at a time. {then}.")?;
            }
            None => writeln!(f, "The number of sessions of a user is not limited.")?,
        }
        match [AAL3, AAL2, AAL1].iter().find(|level| self.are_within(level)) {
            Some(level) => write!(f, "This is within {} of NIST SP 800-63B-4.", level.name),
            None => write!(f, "This is beyond AAL1 of NIST SP 800-63B-4."),
        }
    }
}

/// A duration in words.
struct Spelled(Duration);

impl fmt::Display for Spelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_millis();
        let mut is_first = true;
        for (unit, millis) in [
            ("day", u128::from(DAY) * 1000),
            ("hour", u128::from(HOUR) * 1000),
            ("minute", u128::from(MINUTE) * 1000),
            ("second", 1000),
            ("millisecond", 1),
        ] {
            let count = left / millis;
            left %= millis;
            if count > 0 {
                let (space, plural) =
                    (if is_first { "" } else { " " }, if count > 1 { "s" } else { "" });
                write!(f, "{space}{count} {unit}{plural}")?;
                is_first = false;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(idle: Option<u64>, absolute: Option<u64>) -> String {
        let [idle, absolute] = [idle, absolute].map(|secs| secs.map(Ttl::from_secs));
        Lifetimes { idle, absolute, cookie: None, renewal: None, limit: None }.to_string()
    }

    // proves: ASVS-7.1.1 NIST-5.2-d
    #[test]
    fn timeouts_are_described() {
        assert_eq!(
            described(Some(90 * MINUTE), Some(7 * DAY)),
            "A session ends after 1 hour 30 minutes without use. A use restarts that time once an \
             eighth of it has passed.\n\
             A session ends 7 days after its start, even if it is in use.\n\
             A new sign-in restarts both.\n\
             The cookie ends with the browser.\n\
             A remembered sign-in keeps the cookie and the session for longer. When the times above \
             have passed, the sign-in counts only as remembered, which is below AAL1.\n\
             The number of sessions of a user is not limited.\n\
             This is within AAL1 of NIST SP 800-63B-4."
        );
        assert_eq!(
            described(None, None),
            "Sessions have no idle timeout.\n\
             Sessions have no absolute timeout.\n\
             A new sign-in restarts both.\n\
             The cookie ends with the browser.\n\
             A remembered sign-in keeps the cookie and the session for longer. When the times above \
             have passed, the sign-in counts only as remembered, which is below AAL1.\n\
             The number of sessions of a user is not limited.\n\
             This is beyond AAL1 of NIST SP 800-63B-4."
        );
    }

    // proves: ASVS-7.1.2
    #[test]
    fn renewal_and_limit_are_described() {
        let limits = Lifetimes {
            idle: None,
            absolute: Some(Ttl::from_secs(HOUR)),
            cookie: Some(Ttl::from_secs(14 * DAY)),
            renewal: Some((Ttl::from_secs(15 * MINUTE), Duration::from_secs(30))),
            limit: Some(SessionLimit::new(3, OnLimit::EndOldest)),
        };
        let text = limits.to_string();
        let renewal = "renewed every 15 minutes. The former secret works for 30 seconds after";
        assert!(text.contains(renewal), "{text}");
        assert!(
            text.contains("The browser keeps the cookie for 14 days. Use extends it"),
            "{text}"
        );
        assert!(
            text.contains(
                "at most 3 sessions at a time. A further sign-in ends the oldest session"
            )
        );
    }

    // proves: AAL1 AAL2 AAL3
    #[test]
    fn the_strictest_level_is_named() {
        for (idle, absolute, level) in [
            (Some(15 * MINUTE), 12 * HOUR, "within AAL3"),
            (Some(15 * MINUTE + 1), 12 * HOUR, "within AAL2"),
            (Some(HOUR), 24 * HOUR, "within AAL2"),
            (None, 12 * HOUR, "within AAL1"),
            (Some(HOUR), 30 * DAY, "within AAL1"),
            (Some(HOUR), 30 * DAY + 1, "beyond AAL1"),
        ] {
            let text = described(idle, Some(absolute));
            assert!(text.contains(level), "{text}");
        }
    }
}
