//! [`assert_lock`]: compares a session with the lock in a file.

use std::{
    env, fs, io,
    path::Path,
    sync::{Mutex, PoisonError},
};

use super::file::Lock;
use crate::session::LockedSession;

/// The environment variable that lets a test write its lock.
const VARIABLE: &str = "RUTS_LOCK";

/// Compares the fields of a session with the lock in a file: a change of a type that live sessions
/// would not survive fails the test, before the deploy.
///
/// `#[session(lock)]` generates a test that calls it with `sessions.lock` beside `Cargo.toml`. It
/// checks that
///
/// - each field reads what its codec writes,
/// - each field reads what live sessions hold, and instances of the release before read what it writes,
/// - each migration accepts the values of the former type,
/// - no stored name is lost, and no version goes down,
/// - the JSON of a principal, by which its sessions are found, stays the same.
///
/// With `RUTS_LOCK=accept` it writes the file, unless a finding [breaks](super::LockLevel::Breaks). The answer
/// to such a finding belongs into the code, where it is reviewed.
///
/// A type of which no value can be guessed, and one with `untagged`, `flatten` or `Value` inside, is
/// compared by its structure alone. A change of the meaning, such as euros to cents, is not seen.
///
/// ```
/// use ruts::{session, testing::assert_lock};
///
/// #[session(lock)]
/// struct Shop {
///     #[field(default)]
///     cart: Vec<String>,
/// }
///
/// # let path = std::env::temp_dir().join(format!("ruts-doc-{}.lock", std::process::id()));
/// # std::fs::write(&path, ruts::testing::Lock::of::<Shop>().to_string()).unwrap();
/// assert_lock::<Shop>(&path);
/// # std::fs::remove_file(&path).unwrap();
/// ```
///
/// # Panics
///
/// The fields differ from the lock, or the file cannot be read or written.
pub fn assert_lock<S: LockedSession>(path: impl AsRef<Path>) {
    // Several sessions may have one file, and their tests run in parallel.
    static FILE: Mutex<()> = Mutex::new(());
    let _one_at_a_time = FILE.lock().unwrap_or_else(PoisonError::into_inner);

    let path = path.as_ref();
    let mut lock: Lock = match fs::read_to_string(path) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Lock::default(),
        Err(error) => panic!("{}: {error}", path.display()),
    };
    let report = lock.compare::<S>();
    let is_accepted = env::var(VARIABLE).is_ok_and(|value| value == "accept");
    if is_accepted && !report.breaks() {
        lock.accept::<S>();
        fs::write(path, lock.to_string())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let advice = match report.breaks() {
        true => "A finding that breaks sessions cannot be accepted.",
        false => "To take this over: RUTS_LOCK=accept cargo test",
    };
    assert!(
        report.is_empty(),
        "`{}` differs from {}:\n\n{report}\n{advice}",
        S::SCHEMA.name(),
        path.display()
    );
}
