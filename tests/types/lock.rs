//! Before a deployment, the lock reports what `matrix` finds by running both releases.

use std::{collections::BTreeMap, env, fs, process::Command};

use ruts::{
    Session,
    codec::{Codec, CodecError, Stored},
    field::{Field, FieldSpec, FieldVisitor, SessionSchema},
    session,
    session::{DefaultLayer, LockedSession, TypedSession},
    testing::{Lock, LockLevel, LockReport, LockTest},
};
use serde::{Deserialize, Serialize};

use crate::{
    change::{COUNTED_SEED, Direction, Run, new_session},
    changes::changes,
    order_id::OrderId,
};

/// Changes of the meaning but not of the shape. A lock cannot detect them.
const MISSED: [&str; 1] = ["Euros(u64) to Cents(u64)"];

/// Changes that MessagePack reads in both directions, but that a comparison of the shapes reports.
const FALSE_ALARMS: [&str; 3] = [
    "BTreeMap<String, T> to a struct",
    "String to an enum of units",
    "flatten a field into a nested struct",
];

#[tokio::test]
async fn the_lock_breaks_where_a_release_does_not_read_the_other() {
    let session = new_session().await;
    let mut false_alarms = Vec::new();
    for codec in [Codec::Bincode, Codec::MessagePack] {
        let run = Run { session: &session, codec, seed: COUNTED_SEED, values: 30, has_lock: false };
        for change in changes() {
            let up = change.read(&run, Direction::NewReadsOld).await;
            let down = change.read(&run, Direction::OldReadsNew).await;
            let report = change.lock(codec);
            let is_right = up.is_right() && down.is_right();
            if is_right && report.breaks() {
                false_alarms.push(change.name);
            }
            let is_missed = !is_right && !report.breaks();
            let name = change.name;
            assert_eq!(is_missed, MISSED.contains(&name), "{name}: {codec:?}: {up:?} {down:?}");
        }
    }
    false_alarms.sort_unstable();
    assert_eq!(false_alarms, FALSE_ALARMS);
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Item {
    sku: String,
    #[serde(alias = "count")]
    qty: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Pay {
    Cash,
    Card {
        number: u64,
    },
    #[serde(other)]
    Other,
}

/// The generated test compares this session with `sessions.lock`. The lock also has a former type
/// of the user, `u32`. bincode reads it as a `u64`, because the lock is compiled in.
#[session(lock)]
struct Shop {
    #[field(principal, codec = "bincode")]
    user: u64,
    #[field(default)]
    cart: Vec<Item>,
    pay: Pay,
}

/// Compares a later release of the session with its lock, and checks that the report is empty after
/// the release is accepted. The release is written by hand, because a second `#[session(lock)]`
/// would generate a second test.
macro_rules! release {
    ($($spec:expr => $type:ty $(=> $migrate:expr)? $(; $mode:ident $(($argument:expr))?)?),+ $(,)?) => {
        release!(of Lock::of::<Shop>(), retired []
            $($spec => $type $(=> $migrate)? $(; $mode $(($argument))?)?),+)
    };
    (of $lock:expr, retired $retired:tt
        $($spec:expr => $type:ty $(=> $migrate:expr)? $(; $mode:ident $(($argument:expr))?)?),+ $(,)?) => {
        release!(@with {
            let mut lock = $lock;
            let report = lock.compare::<Release>();
            if !report.breaks() {
                lock.accept::<Release>();
                assert!(lock.compare::<Release>().is_empty(), "{}", lock.compare::<Release>());
            }
            report
        }, retired $retired $($spec => $type $(=> $migrate)? $(; $mode $(($argument))?)?),+)
    };
    (accept $lock:ident, $($spec:expr => $type:ty $(=> $migrate:expr)?),+ $(,)?) => {
        release!(@with $lock.accept::<Release>(), retired [] $($spec => $type $(=> $migrate)?),+)
    };
    (@with $action:expr, retired $retired:tt
        $($spec:expr => $type:ty $(=> $migrate:expr)? $(; $mode:ident $(($argument:expr))?)?),+) => {{
        #[derive(Clone)]
        struct Release(Session);

        impl TypedSession for Release {
            type Layer = DefaultLayer;

            const SCHEMA: &'static SessionSchema =
                &SessionSchema::new("Shop", const { &[$($spec),+] }).with_retired(&$retired);

            fn session(&self) -> &Session {
                &self.0
            }

            fn wrap(session: Session) -> Self {
                Self(session)
            }
        }

        impl LockedSession for Release {
            fn visit_fields<V: FieldVisitor>(visitor: &mut V) {
                let mut specs = Self::SCHEMA.fields().iter();
                $(
                    let field = Field::<$type>::new(specs.next().unwrap());
                    visitor.visit(field $(.migrate($migrate))? $(.$mode($($argument)?))?);
                )+
            }
        }

        $action
    }};
}

const USER: FieldSpec = FieldSpec::new("user").with_codec(Codec::Bincode).principal::<u64>();
const CART: FieldSpec = FieldSpec::new("cart");
const PAY: FieldSpec = FieldSpec::new("pay");

/// Asserts that the report has one finding, with this level and these texts.
#[track_caller]
fn assert_finding(report: &LockReport, level: LockLevel, texts: &[&str]) {
    let text = report.to_string();
    let levels: Vec<_> = report.findings().iter().map(|finding| finding.level()).collect();
    assert_eq!(levels, [level], "{text}");
    for part in texts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_lock_is_readable_text() {
    let text = Lock::of::<Shop>().to_string();
    let types: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    let expected = [
        "# The types of stored session values, written by ruts. Check it in.",
        "# To take over changes: RUTS_LOCK=accept cargo test",
        "",
        "[Shop]",
        "cart 1 messagepack fe1d33c5 [{sku: str, qty|count: u32, note?: option<str>}]",
        "pay 1 messagepack 6a1bf470 <Cash / Card {number: u64} / Other / *>",
        "user 1 bincode f59948d0 u64 +principal",
    ];
    assert_eq!(types, expected, "{text}");
    assert!(text.ends_with("  10010001f59948d001\n  json 0\n  json 1\n"), "{text}");
    assert_eq!(text.parse(), Ok(Lock::of::<Shop>()));
}

#[test]
fn an_unreadable_line_is_named() {
    let cut = Lock::of::<Shop>().to_string().replace("option<str>", "option<");
    let error = cut.parse::<Lock>().unwrap_err();
    assert_eq!(error.to_string(), "line 5 of the lock cannot be read");
}

#[test]
fn an_accepted_change_leaves_nothing_to_say() {
    let mut lock = Lock::default();
    assert!(!lock.compare::<Shop>().is_empty());
    lock.accept::<Shop>();
    assert_eq!(lock, Lock::of::<Shop>());
    assert!(lock.compare::<Shop>().is_empty(), "{}", lock.compare::<Shop>());
}

#[test]
fn an_optional_field_more_is_stale() {
    #[derive(Serialize, Deserialize)]
    struct Later {
        sku: String,
        qty: u32,
        note: Option<String>,
        gift: Option<bool>,
    }
    let report = release!(USER => u64, CART => Vec<Later>, PAY => Pay);
    assert_finding(
        &report,
        LockLevel::Stale,
        &["`cart` has changed: both releases read both types."],
    );
}

/// Values of the former name would be dropped, and both releases read both types.
#[test]
fn a_renamed_field_with_a_default_is_a_warning() {
    #[derive(Serialize, Deserialize)]
    struct Later {
        sku: String,
        qty: u32,
        #[serde(default)]
        remark: Option<String>,
    }
    let report = release!(USER => u64, CART => Vec<Later>, PAY => Pay);
    let texts = ["[].remark: was probably `note`", "#[serde(rename = \"..\")]"];
    assert_finding(&report, LockLevel::Warning, &texts);

    #[derive(Serialize, Deserialize)]
    struct Aliased {
        sku: String,
        qty: u32,
        #[serde(default, alias = "note")]
        remark: Option<String>,
    }
    let report = release!(USER => u64, CART => Vec<Aliased>, PAY => Pay);
    let texts =
        ["[].note: was probably `remark`", "instances of the previous release read as absent"];
    assert_finding(&report, LockLevel::Warning, &texts);

    #[derive(Serialize, Deserialize)]
    struct Renamed {
        sku: String,
        #[serde(alias = "count")]
        qty: u32,
        #[serde(default, rename = "note", skip_serializing_if = "Option::is_none")]
        remark: Option<String>,
    }
    assert!(release!(USER => u64, CART => Vec<Renamed>, PAY => Pay).is_empty());
}

#[test]
fn a_field_without_a_default_breaks() {
    #[derive(Serialize, Deserialize)]
    struct Later {
        sku: String,
        qty: u32,
        note: Option<String>,
        price: u32,
    }
    let report = release!(USER => u64, CART => Vec<Later>, PAY => Pay);
    let text = "[].price: is missing in stored values, and has no default";
    assert_finding(&report, LockLevel::Breaks, &["cannot read what live sessions hold", text]);
}

#[test]
fn a_field_that_the_release_before_needs_breaks() {
    #[derive(Serialize, Deserialize)]
    struct Later {
        sku: String,
    }
    let report = release!(USER => u64, CART => Vec<Later>, PAY => Pay);
    let texts =
        ["instances of the previous release cannot read what it writes", "[].qty: is missing"];
    assert_finding(&report, LockLevel::Breaks, &texts);
}

#[test]
fn a_renamed_field_is_recognised() {
    let report = release!(USER => u64, FieldSpec::new("basket") => Vec<Item>, PAY => Pay);
    let text = "`basket` is new and has the shape of `cart`, which is gone.";
    assert_finding(&report, LockLevel::Breaks, &[text, "#[field(rename = \"cart\")]"]);
}

#[test]
fn a_field_that_is_gone_breaks() {
    let report = release!(USER => u64, CART => Vec<Item>);
    assert_finding(&report, LockLevel::Breaks, &["`pay` is gone, and live sessions hold it."]);
}

#[test]
fn another_type_of_a_principal_hides_its_sessions() {
    #[derive(Serialize, Deserialize)]
    struct UserId {
        id: u64,
    }
    const USER: FieldSpec = FieldSpec::new("user").with_codec(Codec::Bincode).principal::<UserId>();
    let report = release!(USER => UserId, CART => Vec<Item>, PAY => Pay);
    let text = report.to_string();
    assert!(text.contains("has different JSON (0 before, {\"id\":0} now)"), "{text}");
    assert!(text.contains("its layout has changed, and bincode reads by position"), "{text}");
}

#[test]
fn a_newtype_of_a_principal_is_the_same() {
    #[derive(Serialize, Deserialize)]
    struct UserId(u64);
    const USER: FieldSpec = FieldSpec::new("user").with_codec(Codec::Bincode).principal::<UserId>();
    let report = release!(USER => UserId, CART => Vec<Item>, PAY => Pay);
    assert!(report.is_empty(), "{report}");
}

#[test]
fn a_version_goes_up_with_a_warning_and_never_down() {
    let report = release!(USER => u64, CART => Vec<Item>, PAY.with_version(2) => Pay);
    let text = report.to_string();
    assert!(text.contains("`pay` has a new version 2."), "{text}");
    let report = release!(USER => u64, CART => Vec<Item>, PAY.with_version(0) => Pay);
    let text = "has version 0, but version 1 was released";
    assert_finding(&report, LockLevel::Breaks, &[text]);
}

/// The migration runs on the samples of the lock.
#[test]
fn a_migration_has_to_accept_the_samples() {
    const PAY: FieldSpec = self::PAY.with_version(2);
    fn refuses_cards(stored: Stored<'_>) -> Result<Option<u8>, CodecError> {
        match stored.read::<Pay>()? {
            Pay::Card { .. } => Err(stored.refuse()),
            _ => Ok(Some(0)),
        }
    }
    let report = release!(USER => u64, CART => Vec<Item>, PAY => u8 => refuses_cards);
    let text = report.to_string();
    assert!(text.contains("Breaks  `pay` cannot migrate value 1 of version 1"), "{text}");

    let report = release!(USER => u64, CART => Vec<Item>, PAY => u8 => |stored| {
        stored.read::<Pay>().map(|_| Some(0))
    });
    let text = "`pay` has a new version 2. While instances of the previous release are running";
    assert_finding(&report, LockLevel::Warning, &[text, "With `writes = 1`"]);

    let report = release!(USER => u64, CART => Vec<Item>, PAY => u8 => |_| Ok(None));
    let text = report.to_string();
    assert!(text.contains("Warning `pay` discards version 1"), "{text}");
    assert!(!report.breaks(), "{text}");
}

/// bincode does not read a value of a different type.
#[test]
fn a_migration_has_to_read_the_type_that_was_locked() {
    const USER: FieldSpec = FieldSpec::new("user").with_codec(Codec::Bincode).with_version(2);
    fn read_signed(stored: Stored<'_>) -> Result<Option<u64>, CodecError> {
        stored.read::<i64>().map(|id| Some(id.unsigned_abs()))
    }
    let report = release!(USER => u64 => read_signed, CART => Vec<Item>, PAY => Pay);
    let text = report.to_string();
    assert!(text.contains("Breaks  `user` cannot migrate value 1 of version 1"), "{text}");
}

/// MessagePack reads by name, so it would silently drop fields that the former type lacks.
#[test]
fn a_migration_from_another_type_than_the_locked_one_is_a_warning() {
    #[derive(Serialize, Deserialize)]
    struct Part {
        sku: String,
    }
    fn read_part(stored: Stored<'_>) -> Result<Option<Vec<String>>, CodecError> {
        let parts = stored.read::<Vec<Part>>()?;
        Ok(Some(parts.into_iter().map(|part| part.sku).collect()))
    }
    const CART: FieldSpec = self::CART.with_version(2);
    let report = release!(USER => u64, CART => Vec<String> => read_part, PAY => Pay);
    let text = report.to_string();
    let warning = "Warning `cart` migrates version 1 from a type that version 1 did not have";
    assert!(text.contains(warning), "{text}");
    assert!(!report.breaks(), "{text}");
    let report = release!(USER => u64, CART => Vec<String> => |stored| {
        let items = stored.read::<Vec<Item>>()?;
        Ok(Some(items.into_iter().map(|item| item.sku).collect()))
    }, PAY => Pay);
    assert!(!report.to_string().contains("a type that version 1 did not have"), "{report}");

    // The type of the field itself may have grown.
    #[derive(Serialize, Deserialize)]
    enum Later {
        Cash,
        Card {
            number: u64,
        },
        Voucher(String),
        #[serde(other)]
        Other,
    }
    let report = release!(USER => u64, CART => Vec<Item>, PAY.with_version(2) => Later => |stored| {
        stored.read().map(Some)
    });
    assert!(!report.to_string().contains("a type that version 1 did not have"), "{report}");
}

#[test]
fn encryption_that_refuses_live_values_breaks() {
    fn keep(stored: Stored<'_>) -> Result<Option<Pay>, CodecError> {
        stored.read::<Pay>().map(Some)
    }
    const ALL: FieldSpec = PAY.with_version(2).encrypt();
    let report = release!(USER => u64, CART => Vec<Item>, ALL => Pay => keep);
    let text = report.to_string();
    let refuses = "Breaks  `pay` is encrypted now, and refuses the unencrypted values of version 1";
    assert!(text.contains(refuses), "{text}");
    assert!(text.contains("Write `encrypt(since = 2)`."), "{text}");

    const NEW: FieldSpec = PAY.with_version(2).encrypt_since(2);
    let report = release!(USER => u64, CART => Vec<Item>, NEW => Pay => keep);
    assert!(!report.breaks(), "{report}");
    let report = release!(USER => u64, CART => Vec<Item>, ALL => Pay => |_| Ok(None));
    assert!(!report.breaks(), "a discarded value should need no decryption: {report}");

    // The release after all sessions of version 1 have ended.
    let mut lock = Lock::of::<Shop>();
    release!(accept lock, USER => u64, CART => Vec<Item>, NEW => Pay => keep);
    let report = release!(of lock, retired [] USER => u64, CART => Vec<Item>, ALL => Pay => keep);
    assert_finding(&report, LockLevel::Warning, &["refuses unencrypted values of version 1 now"]);

    const SAME: FieldSpec = PAY.encrypt();
    let report = release!(USER => u64, CART => Vec<Item>, SAME => Pay);
    assert_finding(&report, LockLevel::Breaks, &["is encrypted now", "encrypt(since = 2)"]);

    let encrypted: Lock = {
        let text = Lock::of::<Shop>().to_string();
        text.replace(" / Other / *>\n", " / Other / *> +encrypt\n").parse().unwrap()
    };
    const BRIDGE: FieldSpec = NEW.with_writes(1);
    let report = release!(of encrypted.clone(), retired []
        USER => u64, CART => Vec<Item>, BRIDGE => Pay => keep);
    let text = report.to_string();
    assert!(text.contains("Breaks  `pay` writes version 1 without encryption"), "{text}");

    let report = release!(of encrypted, retired [] USER => u64, CART => Vec<Item>, PAY => Pay);
    let text = "is no longer encrypted, and instances of the previous release refuse";
    assert_finding(&report, LockLevel::Breaks, &[text, "version = 2"]);
}

#[test]
fn a_migrated_principal_has_to_keep_its_sessions() {
    #[derive(Serialize, Deserialize)]
    struct UserId {
        id: u64,
    }
    fn migrate(stored: Stored<'_>) -> Result<Option<UserId>, CodecError> {
        stored.read::<u64>().map(|id| Some(UserId { id }))
    }
    const USER: FieldSpec = FieldSpec::new("user").with_codec(Codec::Bincode).with_version(2);
    const KEPT: FieldSpec = USER.principal_with(|stored, name| match stored.version() {
        1 => name.set(&stored.read::<u64>()?),
        _ => name.set(&stored.read::<UserId>()?.id),
    });
    const LOST: FieldSpec = USER.principal_with(|stored, name| match stored.version() {
        1 => name.set(&stored.read::<u64>()?),
        _ => name.set(&stored.read::<UserId>()?),
    });
    let report = release!(KEPT => UserId => migrate; principal, CART => Vec<Item>, PAY => Pay);
    assert!(!report.breaks(), "{report}");
    let report = release!(LOST => UserId => migrate; principal, CART => Vec<Item>, PAY => Pay);
    let text = report.to_string();
    assert!(
        text.contains("Breaks  `user` does not name the same principals as version 1"),
        "{text}"
    );
}

#[test]
fn a_field_that_is_no_longer_the_principal_is_a_warning() {
    const USER: FieldSpec = FieldSpec::new("user").with_codec(Codec::Bincode);
    let report = release!(USER => u64, CART => Vec<Item>, PAY => Pay);
    assert_finding(&report, LockLevel::Warning, &["is no longer the principal"]);
}

#[test]
fn a_field_that_becomes_the_principal_is_a_warning() {
    const PLAIN: FieldSpec = FieldSpec::new("user").with_codec(Codec::Bincode);
    let mut lock = Lock::default();
    release!(accept lock, PLAIN => u64);
    let report = release!(of lock, retired [] USER => u64);
    let texts = ["`user` is the principal now", "have to sign in again"];
    assert_finding(&report, LockLevel::Warning, &texts);
}

#[test]
fn a_field_of_a_different_section_is_not_just_new() {
    let text = Lock::of::<Shop>().to_string().replace("[Shop]", "[Former]");
    let lock: Lock = text.parse().unwrap();
    let is_stale = |report: &LockReport| {
        report.findings().iter().all(|finding| finding.level() == LockLevel::Stale)
    };
    let report = lock.compare::<Shop>();
    assert!(is_stale(&report) && report.to_string().contains("is also a field of [Former]"));
    let report = release!(of lock.clone(), retired [] CART => Vec<String>);
    let texts = ["`cart` is new here, but [Former]", "rename that section of the lock to [Shop]"];
    assert_finding(&report, LockLevel::Warning, &texts);
    let report = release!(of lock, retired [] USER => String);
    assert_finding(&report, LockLevel::Warning, &["`user` is new here, but [Former]"]);
}

#[test]
fn a_type_whose_parts_are_not_seen_needs_a_sample() {
    #[derive(Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Event {
        Paid { cents: u64 },
    }
    const EVENT: FieldSpec = FieldSpec::new("event");
    let report = release!(of Lock::default(), retired [] EVENT => Event);
    assert_finding(&report, LockLevel::Warning, &["`event` is new", "`LockTest::sample`"]);
}

#[test]
fn a_retired_name_is_never_used_again() {
    let lock = Lock::of::<Shop>();
    let report = release!(of lock.clone(), retired ["pay"] USER => u64, CART => Vec<Item>);
    assert_finding(&report, LockLevel::Stale, &["`pay` is retired."]);

    let text = format!("{lock}theme retired\n");
    let lock: Lock = text.parse().unwrap();
    assert_eq!(lock.to_string(), text);
    const THEME: FieldSpec = FieldSpec::new("theme");
    let report = release!(
        of lock, retired [] USER => u64, CART => Vec<Item>, PAY => Pay, THEME => u8
    );
    assert_finding(&report, LockLevel::Breaks, &["`theme` was retired"]);
}

#[test]
fn a_type_that_its_codec_does_not_read_back_breaks() {
    #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
    struct Noted {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        last: u8,
    }
    const NOTED: FieldSpec = FieldSpec::new("other").with_codec(Codec::Bincode);
    let report = release!(
        USER => u64,
        CART => Vec<Item>,
        PAY => Pay,
        NOTED => Noted,
        FieldSpec::new("nested") => Option<Option<u8>>,
    );
    let text = report.to_string();
    assert!(
        text.contains("Breaks  `other` is written by bincode, which does not read back"),
        "{text}"
    );
    assert!(text.contains("Breaks  `nested` is written by MessagePack, which does not"), "{text}");
}

#[test]
fn a_field_more_is_stale() {
    let report = release!(
        USER => u64,
        CART => Vec<Item>,
        PAY => Pay,
        FieldSpec::new("theme") => bool,
    );
    assert_finding(&report, LockLevel::Stale, &["`theme` is new."]);
}

/// The application provides samples of types for which ruts cannot generate any.
mod samples {
    use std::panic::catch_unwind;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Filter {
        Price(u32, u32),
        Words(u8),
    }

    macro_rules! search {
        ($name:ident: $type:ty, $codec:expr) => {
            #[derive(Clone)]
            struct $name(Session);

            impl $name {
                const FILTER: Field<$type> = Field::new(&Self::SCHEMA.fields()[0]);
            }

            impl TypedSession for $name {
                type Layer = DefaultLayer;

                const SCHEMA: &'static SessionSchema = &SessionSchema::new(
                    "Search",
                    const { &[FieldSpec::new("filter").with_codec($codec)] },
                );

                fn session(&self) -> &Session {
                    &self.0
                }

                fn wrap(session: Session) -> Self {
                    Self(session)
                }
            }

            impl LockedSession for $name {
                fn visit_fields<V: FieldVisitor>(visitor: &mut V) {
                    visitor.visit(Self::FILTER);
                }
            }
        };
    }

    #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Later {
        Price(u32),
        Words(u8),
    }

    search!(Search: Filter, Codec::MessagePack);
    search!(LaterSearch: Later, Codec::MessagePack);
    search!(ByPosition: Filter, Codec::Bincode);

    fn file(lock: &Lock) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, lock.to_string()).unwrap();
        file
    }

    fn message(test: impl FnOnce() + std::panic::UnwindSafe) -> String {
        match catch_unwind(test) {
            Ok(()) => String::new(),
            Err(panic) => *panic.downcast::<String>().unwrap(),
        }
    }

    #[test]
    fn a_later_release_has_to_read_them() {
        let price = Filter::Price(10, 20);
        let mut lock = Lock::of::<Search>();
        assert!(
            lock.compare::<LaterSearch>().is_empty(),
            "no change should be found, because the structure is not known"
        );
        let path = file(&lock);
        let with_sample = || LockTest::<Search>::new(&path).sample(Search::FILTER, &price);
        let stale = message(|| with_sample().assert());
        assert!(stale.contains("Stale   `filter` has a sample that the lock lacks."), "{stale}");

        // `RUTS_LOCK=accept` would write this line. The variable would affect all tests of the
        // process.
        let sample = "10020001";
        let text = lock.to_string();
        let stored = text.lines().find(|line| line.starts_with("filter 1")).unwrap();
        let fingerprint = stored.split(' ').nth(3).unwrap();
        lock = text
            .replace(stored, &format!("{stored}\n  {sample}{fingerprint}920a14"))
            .parse()
            .unwrap();
        let path = file(&lock);
        LockTest::<Search>::new(&path).sample(Search::FILTER, &price).assert();
        LockTest::<Search>::new(&path).assert();
        // The later release is a separate program, with a copy of the file.
        let path = file(&lock);
        let broken = message(|| LockTest::<LaterSearch>::new(&path).assert());
        assert!(broken.contains("a value that the former type accepts is refused"), "{broken}");

        lock.accept::<Search>();
        assert!(lock.to_string().contains("920a14"), "the generated test should keep the samples");
    }

    #[test]
    fn a_value_that_is_not_read_back_breaks() {
        let path = file(&Lock::of::<ByPosition>());
        let words = Filter::Words(1);
        let broken = message(|| {
            LockTest::<ByPosition>::new(&path).sample(ByPosition::FILTER, &words).assert();
        });
        assert!(broken.contains("is written by bincode, which does not read back"), "{broken}");
    }

    #[test]
    fn a_value_of_another_session_is_refused() {
        const OTHER: Field<u8> = Field::new(&FieldSpec::new("other"));
        let test = || LockTest::<Search>::new("none").sample(OTHER, &1).assert();
        assert_eq!(message(test), "the session has no field `other`");
    }
}

#[test]
fn the_lock_shows_which_version_a_bridge_release_writes() {
    const BRIDGE: FieldSpec = CART.with_version(2).with_writes(1);
    const AFTER: FieldSpec = CART.with_version(2);
    let mut lock = Lock::of::<Shop>();
    release!(accept lock, USER => u64, BRIDGE => Vec<Item> => |stored| stored.read().map(Some), PAY => Pay);
    let text = lock.to_string();
    assert!(text.contains("}] +writes-1 +unwritten\n"), "{text}");
    assert_eq!(text.parse(), Ok(lock.clone()));
    let report = release!(of lock, retired []
        USER => u64, AFTER => Vec<Item> => |stored| stored.read().map(Some), PAY => Pay);
    assert_finding(&report, LockLevel::Stale, &["`cart` writes version 2 from now on"]);
}

/// The variables that make the test below run one comparison, in a process of its own: the file,
/// and the type of the cart.
const CHILD: [&str; 2] = ["RUTS_TEST_LOCK", "RUTS_TEST_CART"];

/// `RUTS_LOCK=accept` is an environment variable, so each comparison runs in a process of its own.
#[test]
fn the_variable_accepts_what_is_harmless_and_refuses_what_breaks() {
    #[derive(Serialize, Deserialize)]
    struct WithGift {
        sku: String,
        qty: u32,
        note: Option<String>,
        gift: Option<bool>,
    }
    if let [Ok(path), Ok(cart)] = CHILD.map(env::var) {
        return match cart.as_str() {
            "gift" => release!(@with LockTest::<Release>::new(&path).assert(), retired []
                USER => u64, CART => Vec<WithGift>, PAY => Pay),
            _ => release!(@with LockTest::<Release>::new(&path).assert(), retired []
                USER => u64, CART => Vec<u64>, PAY => Pay),
        };
    }
    let path = env::temp_dir().join(format!("ruts-accept-{}.lock", std::process::id()));
    let locked = Lock::of::<Shop>().to_string();
    fs::write(&path, &locked).unwrap();
    let compare = |cart: &str, accept: Option<&str>| {
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["the_variable_accepts", "--nocapture"]);
        child.env(CHILD[0], &path).env(CHILD[1], cart).env_remove("RUTS_LOCK");
        child.envs(accept.map(|accept| ("RUTS_LOCK", accept)));
        let output = child.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (cart, accept, advice) in [
        ("gift", None, "To accept the changes: RUTS_LOCK=accept cargo test"),
        ("gift", Some("yes"), "To accept the changes: RUTS_LOCK=accept cargo test"),
        ("numbers", Some("accept"), "A finding that breaks sessions cannot be accepted."),
    ] {
        let (is_accepted, output) = compare(cart, accept);
        assert!(!is_accepted && output.contains(advice), "{output}");
        assert_eq!(fs::read_to_string(&path).unwrap(), locked, "the file should stay as it is");
    }
    let (is_accepted, output) = compare("gift", Some("accept"));
    assert!(is_accepted, "{output}");
    assert!(fs::read_to_string(&path).unwrap().contains("gift?: option<bool>"));
    assert!(compare("gift", None).0, "nothing should be left to accept");
    fs::remove_file(&path).unwrap();
}

/// Two structs of the same name would overwrite each other's section.
#[test]
fn sessions_of_the_same_name_need_files_of_their_own() {
    let path = env::temp_dir().join(format!("ruts-same-name-{}.lock", std::process::id()));
    fs::write(&path, Lock::of::<Shop>().to_string()).unwrap();
    LockTest::<Shop>::new(&path).assert();
    LockTest::<Shop>::new(&path).assert();
    let other = std::panic::catch_unwind(|| {
        release!(@with LockTest::<Release>::new(&path).assert(), retired []
            USER => u64, CART => Vec<Item>, PAY => Pay);
    });
    let message = *other.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("share the section [Shop]"), "{message}");
    fs::remove_file(&path).unwrap();
}

#[test]
fn an_index_has_to_keep_the_json_of_its_values() {
    #[derive(Serialize, Deserialize)]
    struct Sid {
        id: String,
    }
    #[derive(Serialize, Deserialize)]
    struct Renamed {
        #[serde(rename = "sid", alias = "id")]
        id: String,
    }
    const INDEX: FieldSpec = FieldSpec::new("sid").index::<Sid>();
    const RENAMED: FieldSpec = FieldSpec::new("sid").index::<Renamed>();
    const PLAIN: FieldSpec = FieldSpec::new("sid");
    let mut lock = Lock::default();
    release!(accept lock, USER => u64, PLAIN => Sid);
    let report = release!(of lock.clone(), retired [] USER => u64, INDEX => Sid);
    assert_finding(&report, LockLevel::Warning, &["`sid` is an index now"]);
    release!(accept lock, USER => u64, INDEX => Sid);
    let text = lock.to_string();
    assert!(text.contains("{id: str} +index\n"), "{text}");
    assert_eq!(text.parse(), Ok(lock.clone()));
    let report = release!(of lock.clone(), retired [] USER => u64, RENAMED => Renamed);
    assert!(
        report.breaks() && report.to_string().contains("could not be found by this value"),
        "{report}"
    );
    let report = release!(of lock, retired [] USER => u64, PLAIN => Sid);
    assert_finding(&report, LockLevel::Stale, &["`sid` is no longer an index"]);
}

/// A part whose valid values cannot be guessed does not hide the parts after it.
#[test]
fn a_part_that_checks_its_values_hides_no_change() {
    #[derive(Serialize, Deserialize)]
    struct Order {
        id: OrderId,
        lines: Vec<(String, u8)>,
        count: u32,
    }
    #[derive(Serialize, Deserialize)]
    struct LaterOrder {
        id: OrderId,
        lines: Vec<(String, u8)>,
        count: i32,
    }
    /// Reads what [`Order`] writes.
    #[derive(Serialize, Deserialize)]
    struct OrderWithNote {
        id: OrderId,
        lines: Vec<(String, u8)>,
        count: u32,
        #[serde(default)]
        note: String,
    }
    const ORDER: FieldSpec = FieldSpec::new("order");
    let mut lock = Lock::default();
    release!(accept lock, USER => u64, ORDER => Order);
    let text = lock.to_string();
    let line = text.lines().find(|line| line.starts_with("order")).unwrap();
    assert!(line.ends_with("{id?: str, lines?: [(str, u8)], count?: u32}"), "{line}");
    let report = release!(of lock.clone(), retired [] USER => u64, ORDER => OrderWithNote);
    assert!(!report.breaks(), "{report}");
    let report = release!(of lock, retired [] USER => u64, ORDER => LaterOrder);
    assert!(
        report.breaks() && report.to_string().contains("count: a u32 that i32 cannot hold"),
        "{report}"
    );
}

/// The advice names a field as the attributes of its struct do.
#[test]
fn advice_leaves_out_the_prefix() {
    #[derive(Clone)]
    struct Later(Session);

    impl TypedSession for Later {
        type Layer = DefaultLayer;

        const SCHEMA: &'static SessionSchema =
            &SessionSchema::new("Shop", const { &[FieldSpec::new("auth.basket")] })
                .with_prefix("auth.");

        fn session(&self) -> &Session {
            &self.0
        }

        fn wrap(session: Session) -> Self {
            Self(session)
        }
    }

    impl LockedSession for Later {
        fn visit_fields<V: FieldVisitor>(visitor: &mut V) {
            visitor.visit(Field::<u64>::new(&Self::SCHEMA.fields()[0]));
        }
    }

    const BEFORE: FieldSpec = FieldSpec::new("auth.cart");
    let mut lock = Lock::default();
    release!(accept lock, BEFORE => String);
    let text = lock.compare::<Later>().to_string();
    assert!(text.contains("rename = \"cart\"") && text.contains("retired(\"cart\")"), "{text}");

    // No attribute gives a field a name without the prefix.
    const WITHOUT: FieldSpec = FieldSpec::new("cart");
    let mut lock = Lock::default();
    release!(accept lock, WITHOUT => u64);
    let text = lock.compare::<Later>().to_string();
    assert!(
        text.contains("`cart` is gone, because the struct has a different prefix now"),
        "{text}"
    );
    assert!(!text.contains("rename") && !text.contains("retired"), "{text}");
}

/// A bridge release writes what the previous release reads, so its former type has to be the locked
/// one.
#[test]
fn a_bridge_release_that_writes_another_type_breaks() {
    #[derive(Serialize, Deserialize)]
    struct Locked {
        items: u32,
        total: u32,
    }
    #[derive(Serialize, Deserialize)]
    struct Former {
        items: u32,
    }
    const BASKET: FieldSpec = FieldSpec::new("basket");
    const BRIDGE: FieldSpec = BASKET.with_version(2).with_writes(1);
    let mut lock = Lock::default();
    release!(accept lock, BASKET => Locked);
    let report = release!(of lock.clone(), retired []
        BRIDGE => u32 => |stored| stored.read::<Former>().map(|former| Some(former.items)));
    assert!(report.breaks(), "{report}");
    let text = report.to_string();
    assert!(text.contains("writes version 1 with a type that version 1 did not have"), "{text}");
    assert!(text.contains("cannot write any of the sample values as version 1"), "{text}");

    // No release has written version 2, so its type may still change.
    release!(accept lock, BRIDGE => u32 => |stored| stored.read::<Locked>().map(|locked| Some(locked.items)));
    let report = release!(@with lock.compare::<Release>(), retired []
        BRIDGE => String => |stored| stored.read::<Locked>().map(|locked| Some(locked.items.to_string())));
    let text = report.to_string();
    assert!(text.contains("has changed, and no release has written it yet"), "{text}");
    release!(accept lock, BRIDGE => String => |stored| stored.read::<Locked>().map(|locked| Some(locked.items.to_string())));
    assert!(!lock.to_string().contains("basket 2 messagepack f59"), "{lock}");

    // After a rollback from a release that wrote version 2, sessions hold values of it.
    const AFTER: FieldSpec = BASKET.with_version(2);
    release!(accept lock, AFTER => String => |stored| stored.read::<Locked>().map(|locked| Some(locked.items.to_string())));
    release!(accept lock, BRIDGE => String => |stored| stored.read::<Locked>().map(|locked| Some(locked.items.to_string())));
    assert!(lock.to_string().contains("str +writes-1\n"), "{lock}");
    let report = release!(@with lock.compare::<Release>(), retired []
        BRIDGE => u32 => |stored| stored.read::<Locked>().map(|locked| Some(locked.items)));
    assert!(report.breaks(), "{report}");
}

/// The release after a bridge no longer writes the former version, so the lock compares what it has
/// accepted for the bridge again.
#[test]
fn the_release_after_a_bridge_is_compared_with_it() {
    #[derive(Serialize, Deserialize)]
    struct Former {
        a: u32,
        b: u32,
    }
    #[derive(Serialize, Deserialize)]
    struct Changed {
        a: u32,
        #[serde(default)]
        c: u32,
    }
    const BASKET: FieldSpec = FieldSpec::new("basket");
    const BRIDGE: FieldSpec = BASKET.with_version(2).with_writes(1);
    const AFTER: FieldSpec = BASKET.with_version(2);
    let mut lock = Lock::default();
    release!(accept lock, BASKET => Former);
    release!(accept lock, BRIDGE => u32 => |stored| stored.read::<Former>().map(|old| Some(old.a + old.b)));

    let report = release!(@with lock.compare::<Release>(), retired []
        AFTER => u32 => |_| Ok(None));
    let text = report.to_string();
    assert!(
        text.contains("discards version 1"),
        "the report should say that the release discards version 1: {text}"
    );
    let report = release!(@with lock.compare::<Release>(), retired []
        BRIDGE => u32 => |stored| stored.read::<Changed>().map(|old| Some(old.a + old.c)));
    let text = report.to_string();
    assert!(text.contains("writes version 1 with a type that version 1 did not have"), "{text}");

    // No release has written version 2, so the field may return to version 1.
    let report = release!(of lock, retired [] BASKET => Former);
    assert_finding(
        &report,
        LockLevel::Stale,
        &["version 1 again; no release has written version 2"],
    );
}

/// Some values omit a field that the previous release requires.
#[test]
fn a_field_that_is_left_out_breaks_the_previous_release() {
    #[derive(Serialize, Deserialize)]
    struct Before {
        count: u32,
        inner: Vec<Inner>,
    }
    #[derive(Serialize, Deserialize)]
    struct Inner {
        count: u32,
    }
    #[derive(Serialize, Deserialize)]
    struct After {
        count: u32,
        inner: Vec<Sparse>,
    }
    #[derive(Serialize, Deserialize)]
    struct Sparse {
        #[serde(default, skip_serializing_if = "is_zero")]
        count: u32,
    }
    fn is_zero(number: &u32) -> bool {
        *number == 0
    }
    const BASKET: FieldSpec = FieldSpec::new("basket");
    let mut lock = Lock::default();
    release!(accept lock, BASKET => Before);
    let report = release!(@with lock.compare::<Release>(), retired [] BASKET => After);
    let texts = ["instances of the previous release", "inner.[].count: a value may lack it"];
    assert_finding(&report, LockLevel::Breaks, &texts);
}

/// ruts finds no value of these types. A value from the application shows which fields have a
/// default.
#[test]
fn without_a_value_the_lock_claims_nothing() {
    #[derive(Serialize, Deserialize)]
    struct Before {
        id: OrderId,
    }
    #[derive(Serialize, Deserialize)]
    struct After {
        id: OrderId,
        count: u32,
    }
    const BASKET: FieldSpec = FieldSpec::new("basket");
    let mut lock = Lock::default();
    release!(accept lock, BASKET => Before);
    let report = release!(of lock.clone(), retired [] BASKET => After);
    assert_finding(&report, LockLevel::Warning, &["no value that shows", "LockTest::sample"]);

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, lock.to_string()).unwrap();
    let message = release!(@with {
        let value = After { id: OrderId("ord_1".to_owned()), count: 1 };
        let test = LockTest::<Release>::new(file.path()).sample(Field::<After>::new(&BASKET), &value);
        std::panic::catch_unwind(|| test.assert()).unwrap_err()
    }, retired [] BASKET => After);
    let message = message.downcast::<String>().unwrap();
    assert!(
        message.contains("count: is missing in stored values, and has no default"),
        "{message}"
    );

    const PAIRS: FieldSpec = FieldSpec::new("pairs");
    let report = release!(of Lock::default(), retired [] PAIRS => Vec<(OrderId, u32)>);
    assert_finding(&report, LockLevel::Warning, &["does not find every part of its type"]);
}

/// Each variant of these types has a sample, although the shape does not show each of them.
#[test]
fn a_changed_variant_of_a_recursive_or_tagged_type_breaks() {
    macro_rules! types {
        ($release:ident $second:ty, $number:ty) => {
            mod $release {
                use super::*;

                #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
                pub(super) enum Filter {
                    Not(Box<Filter>),
                    Pair { first: Box<Filter>, second: $second },
                    Equal(u32),
                }

                #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
                #[serde(tag = "kind", content = "value")]
                pub(super) enum Amount {
                    Number($number),
                    Text(String),
                }
            }
        };
    }
    types!(before u32, u32);
    types!(after String, bool);
    const FILTER: FieldSpec = FieldSpec::new("filter").with_codec(Codec::MessagePack);
    const AMOUNT: FieldSpec = FieldSpec::new("amount").with_codec(Codec::MessagePack);
    let mut lock = Lock::default();
    release!(accept lock, FILTER => before::Filter, AMOUNT => before::Amount);
    assert!(lock.to_string().contains("{kind: any, value: unknown}"), "{lock}");
    let report = release!(of lock.clone(), retired []
        FILTER => after::Filter, AMOUNT => before::Amount);
    assert_finding(&report, LockLevel::Breaks, &["filter", "second"]);
    let report = release!(of lock, retired []
        FILTER => before::Filter, AMOUNT => after::Amount);
    assert_finding(&report, LockLevel::Breaks, &["amount"]);
}

/// A variant of an adjacently tagged enum has no content before the change, so no sample shows the
/// content.
#[test]
fn a_variant_that_gains_content_breaks() {
    #[derive(Serialize, Deserialize)]
    #[serde(tag = "kind", content = "value")]
    enum Units {
        Cash,
        Card,
    }
    #[derive(Serialize, Deserialize)]
    #[serde(tag = "kind", content = "value")]
    enum Contents {
        Cash,
        Card(u32),
    }
    const PAYMENT: FieldSpec = FieldSpec::new("payment").with_codec(Codec::MessagePack);
    let mut lock = Lock::default();
    release!(accept lock, PAYMENT => Units);
    println!("{lock}");
    let report = release!(of lock, retired [] PAYMENT => Contents);
    assert_finding(&report, LockLevel::Breaks, &["payment"]);
    let mut lock = Lock::default();
    release!(accept lock, PAYMENT => Contents);
    println!("{lock}");
    let report = release!(of lock, retired [] PAYMENT => Units);
    assert_finding(&report, LockLevel::Breaks, &["payment"]);
}

/// The first sample leaves the field out, and shows neither its default nor which name is an alias.
#[test]
fn a_field_that_samples_leave_out_is_optional() {
    #[derive(Serialize, Deserialize)]
    struct Before {
        total: u32,
    }
    #[derive(Serialize, Deserialize)]
    struct After {
        #[serde(default, skip_serializing_if = "String::is_empty")]
        note: String,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        gift: bool,
        #[serde(alias = "amount")]
        total: u32,
    }
    const BASKET: FieldSpec = FieldSpec::new("basket");
    let mut lock = Lock::default();
    release!(accept lock, BASKET => Before);
    let report = release!(of lock.clone(), retired [] BASKET => After);
    assert_finding(&report, LockLevel::Stale, &["both releases read both types"]);
    release!(accept lock, BASKET => After);
    assert!(lock.to_string().contains("{note?: str, gift?: bool, total|amount: u32}"), "{lock}");
    let report = release!(of lock, retired [] BASKET => Before);
    assert_finding(&report, LockLevel::Stale, &["both releases read both types"]);
}

#[test]
fn an_alias_of_a_key_is_found() {
    macro_rules! keys {
        ($name:ident $(#[$attribute:meta])?) => {
            #[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
            enum $name {
                $(#[$attribute])?
                Card,
                Cash,
            }
        };
    }
    keys!(Before);
    keys!(After #[serde(alias = "Amex")]);
    const PAID: FieldSpec = FieldSpec::new("paid");
    let mut lock = Lock::default();
    release!(accept lock, PAID => BTreeMap<Before, u32>);
    let report = release!(of lock.clone(), retired [] PAID => BTreeMap<After, u32>);
    assert_finding(&report, LockLevel::Stale, &["both releases read both types"]);
    release!(accept lock, PAID => BTreeMap<After, u32>);
    assert!(lock.to_string().contains("map<<Card|Amex / Cash>, u32>"), "{lock}");
}

/// A bridge release that names the type of the field itself writes that type.
#[test]
fn a_bridge_release_that_writes_its_own_type_is_compared() {
    #[derive(Serialize, Deserialize)]
    enum Before {
        Cash,
        Card,
    }
    #[derive(Serialize, Deserialize)]
    enum After {
        Cash,
        Card,
        Voucher,
    }
    #[derive(Serialize, Deserialize)]
    struct Renamed {
        #[serde(alias = "total")]
        amount: u32,
    }
    #[derive(Serialize, Deserialize)]
    struct Total {
        total: u32,
    }
    macro_rules! bridge {
        ($spec:expr, $before:ty => $after:ty) => {{
            const BRIDGE: FieldSpec = $spec.with_version(2).with_writes(1);
            let mut lock = Lock::default();
            release!(accept lock, $spec => $before);
            release!(@with lock.compare::<Release>(), retired []
                BRIDGE => $after => |stored| stored.read::<$after>().map(Some);
                writes(|value, target| target.write(&value)))
        }};
    }
    const NAMED: FieldSpec = FieldSpec::new("value").with_codec(Codec::MessagePack);
    const PACKED: FieldSpec = FieldSpec::new("value").with_codec(Codec::Bincode);
    let report = bridge!(NAMED, Before => After);
    assert!(!report.breaks(), "{report}");
    assert!(report.to_string().contains("Voucher: this variant is not read"), "{report}");
    let report = bridge!(NAMED, u32 => u64);
    assert!(report.to_string().contains("a u64 that u32 cannot hold"), "{report}");
    assert!(
        bridge!(PACKED, Before => After).breaks(),
        "the change should break bincode, which reads by position"
    );
    let report = bridge!(NAMED, Total => Renamed);
    assert!(report.breaks(), "{report}");
    assert!(report.to_string().contains("writes version 1 as its own type"), "{report}");
}

/// ruts has no value of the type, so it has no sample that would be refused.
#[test]
fn encryption_of_a_type_without_samples_breaks() {
    const ORDER: FieldSpec = FieldSpec::new("order");
    const ENCRYPTED: FieldSpec = ORDER.with_version(2).encrypt();
    let mut lock = Lock::default();
    release!(accept lock, ORDER => OrderId);
    let report = release!(of lock.clone(), retired []
        ENCRYPTED => OrderId => |stored| stored.read().map(Some));
    assert!(report.breaks(), "{report}");
    assert!(report.to_string().contains("encrypt(since = 2)"), "{report}");
    let report = release!(of lock, retired [] ENCRYPTED => OrderId => |_| Ok(None));
    assert!(report.to_string().contains("discards version 1"), "{report}");
    assert!(!report.breaks(), "{report}");
}
