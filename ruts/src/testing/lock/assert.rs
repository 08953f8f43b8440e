//! [`assert_lock`] and [`LockTest`]: compare a `#[session]` struct with its lock file.
//!
//! Called by tests of applications. The only file here that touches the file system.

use std::{
    any::type_name,
    collections::BTreeMap,
    env,
    fs::{self, File},
    io,
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{
    describe::Sample,
    file::{Lock, describe},
};
use crate::{
    field::{Field, FieldValue, Mode},
    session::LockedSession,
};

/// The environment variable that lets a test write its lock.
const VARIABLE: &str = "RUTS_LOCK";

/// Compares the fields of a session with the lock in a file. If live sessions would not survive a
/// change of a type, the test fails before the deploy.
///
/// `#[session(lock)]` generates a test that calls this function with `sessions.lock` next to
/// `Cargo.toml`. The function checks these rules:
///
/// - Each field reads the values that its codec writes.
/// - Each field reads the values that live sessions hold, and instances of the previous release
///   read the values that the field writes.
/// - Each migration accepts the values of the former type.
/// - No stored name is lost, and no version becomes lower.
/// - The JSON of a principal or of an index, by which sessions are found, stays the same.
///
/// With `RUTS_LOCK=accept`, the function writes the file, unless a finding
/// [breaks](super::LockLevel::Breaks) live sessions. Resolve such a finding in the code, where the
/// change is reviewed.
///
/// For some types, ruts cannot guess a valid value. For a type that contains `untagged`, `flatten`
/// or `Value`, it cannot guess every value. Without values from a [`LockTest`], only the structure
/// of such a type is compared. A change of meaning, such as from euros to cents, is not detected.
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
/// - The fields differ from the lock.
/// - The file cannot be read or written.
/// - Another session struct in this program has the same name and the same file.
pub fn assert_lock<S: LockedSession>(path: impl AsRef<Path>) {
    LockTest::<S>::new(path).assert();
}

/// The comparison that [`assert_lock`] makes, with additional sample values from the application.
///
/// ruts makes sample values of most types. It cannot make values of a type whose `Deserialize`
/// checks them. It also misses some values of a type that contains `untagged`, `flatten` or
/// `Value`. For these types, the application adds samples. A field has to read back its samples, in
/// this release and in later ones.
///
/// ```
/// use ruts::{session, testing::LockTest};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// #[serde(untagged)]
/// enum Filter {
///     Price(u32, u32),
///     Words(String),
/// }
///
/// #[session(lock)]
/// struct Search {
///     filter: Filter,
/// }
///
/// # let path = std::env::temp_dir().join(format!("ruts-samples-{}.lock", std::process::id()));
/// # std::fs::write(&path, ruts::testing::Lock::of::<Search>().to_string()).unwrap();
/// # let differs = std::panic::catch_unwind(|| {
/// // In a test, next to the generated one.
/// LockTest::<Search>::new(&path)
///     .sample(Search::FILTER, &Filter::Price(10, 20))
///     .sample(Search::FILTER, &Filter::Words("tea".to_owned()))
///     .assert();
/// # });
/// # assert!(differs.is_err(), "the comparison should fail: the lock lacks the samples");
/// # std::fs::remove_file(&path).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "nothing is compared until `assert` is called"]
pub struct LockTest<S> {
    path: PathBuf,
    samples: Vec<Sample>,
    session: PhantomData<fn() -> S>,
}

impl<S: LockedSession> LockTest<S> {
    /// Begins a comparison with the lock in a file.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), samples: Vec::new(), session: PhantomData }
    }

    /// Adds a sample value of a field. The lock keeps the value in its stored form.
    pub fn sample<T: FieldValue, M: Mode>(mut self, field: Field<T, M>, value: &T) -> Self {
        self.samples.push(Sample::new(field, value));
        self
    }

    /// Makes the comparison of [`assert_lock`].
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`assert_lock`], and if the session does not have the field of a
    /// sample.
    #[track_caller]
    pub fn assert(self) {
        // Several session structs may share a file, and their tests run in parallel. A section has
        // the name of its struct.
        static SECTIONS: Mutex<BTreeMap<(PathBuf, &str), &str>> = Mutex::new(BTreeMap::new());
        let mut sections = SECTIONS.lock().unwrap_or_else(PoisonError::into_inner);

        let path = &self.path;
        let (name, own) = (S::SCHEMA.name(), type_name::<S>());
        let other = *sections.entry((path.clone(), name)).or_insert(own);
        assert!(
            other == own,
            "`{other}` and `{own}` share the section [{name}] of {}. Rename one of them, or give it \
             another file: #[session(lock = \"..\")]",
            path.display()
        );
        // Tests of other processes may write the file at the same time, so this test locks the
        // file. On Windows it does not, because the lock would also stop this test from reading the
        // file.
        let locked = || File::open(path).and_then(|file| file.lock().map(|()| file)).ok();
        let _other_processes = cfg!(unix).then(locked);
        let mut differs = "differs from";
        let mut lock: Lock = match fs::read_to_string(path) {
            Ok(text) => text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                differs = "needs a lock, which does not exist yet:";
                Lock::default()
            }
            Err(error) => panic!("{}: {error}", path.display()),
        };
        let fields = describe::<S>(&self.samples);
        let report = lock.compare_with::<S>(&fields);
        let is_accepted = env::var(VARIABLE).is_ok_and(|value| value == "accept");
        if is_accepted && !report.breaks() {
            lock.accept_with::<S>(&fields);
            fs::write(path, lock.to_string())
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            return;
        }
        let advice = match report.breaks() {
            true => {
                "A finding that breaks sessions cannot be accepted. If no release has written a type of the lock, \
                 restore the lock of the latest release, and accept again."
            }
            false => "To accept the changes: RUTS_LOCK=accept cargo test",
        };
        assert!(
            report.is_empty(),
            "`{}` {differs} {}\n\n{report}\n{advice}",
            S::SCHEMA.name(),
            path.display()
        );
    }
}
