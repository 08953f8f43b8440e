//! A store written outside of ruts: one file for each session, so that sessions survive a restart.
//!
//! It keeps the whole contract of [`Store`], as `tests/conformance.rs` proves, for one process: a
//! lock file keeps a second one out. `record` is the session and its rules, [`FileStore`] brings
//! it from and to the disk.

mod record;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use ruts::{
    Handle,
    store::{
        Access, Create, Fields, Loaded, Lookup, Store, StoreError, StoreErrorKind, Take, Touch,
        Update, Updated,
    },
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use self::record::Record;

const NAME: &str = "file";

/// Sessions as files of a folder.
///
/// Operations run one after the other. A file is replaced by renaming a complete new one over it,
/// so that a crash leaves the old or the new session, never half of one.
#[derive(Clone)]
pub struct FileStore {
    folder: Arc<Mutex<Folder>>,
}

struct Folder {
    path: PathBuf,
    /// Held for as long as the store lives: the operating system lets go of it when we die.
    _lock: File,
}

impl FileStore {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or written to, or another process has it open.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path)?;
        let lock = File::create(path.join("lock"))?;
        lock.try_lock()?;
        Ok(Self { folder: Arc::new(Mutex::new(Folder { path, _lock: lock })) })
    }

    /// Does `work` on the session that `access` opens, and saves it if it was changed.
    async fn open_session<T: Send>(
        &self,
        access: Access<'_>,
        work: impl FnOnce(&mut Record, Duration) -> (T, Changed) + Send,
    ) -> Result<Lookup<T>, StoreError> {
        let folder = Arc::clone(&self.folder).lock_owned().await;
        let path = folder.file(access.handle);
        let now = now();
        let Some(mut record) = read(&path).map_err(unavailable)?.filter(|held| held.is_known(now))
        else {
            return Ok(Lookup::NotFound);
        };
        let answer = record.open(access.secret, now).map(|()| work(&mut record, now));
        if let Lookup::Found((_, Changed::Yes)) = answer {
            in_background(folder, move || save(&path, &record)).await?;
        }
        Ok(answer.map(|(answer, _)| answer))
    }
}

/// Whether the session has to be saved.
enum Changed {
    Yes,
    No,
}

impl Folder {
    fn file(&self, handle: &Handle) -> PathBuf {
        self.path.join(format!("{handle}.session"))
    }
}

/// Runs `work` where it may block. The folder stays locked until it is done, even if the caller
/// loses interest: otherwise a late rename could undo a later write.
async fn in_background<T: Send + 'static>(
    folder: OwnedMutexGuard<Folder>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(move || {
        let _folder = folder;
        work()
    });
    match done.await {
        Ok(result) => result.map_err(unavailable),
        Err(stopped) => Err(StoreError::new(NAME, StoreErrorKind::Unknown).with_source(stopped)),
    }
}

/// Nothing was changed: a new file only counts once it is renamed.
fn unavailable(error: io::Error) -> StoreError {
    let kind = match error.kind() {
        io::ErrorKind::InvalidData => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::new(NAME, kind).with_source(error)
}

fn read(path: &Path) -> io::Result<Option<Record>> {
    match fs::read(path) {
        Ok(bytes) => rmp_serde::from_slice(&bytes).map(Some).map_err(
            // The text of a decoding error may quote what it found.
            |_| io::Error::new(io::ErrorKind::InvalidData, "not a session file"),
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn save(path: &Path, record: &Record) -> io::Result<()> {
    let bytes = rmp_serde::to_vec(record).map_err(io::Error::other)?;
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(new, path)
}

/// The wall clock, since sessions outlive the process.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

impl Store for FileStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn load(
        &self,
        access: Access<'_>,
        fields: Fields<'_>,
        touch: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        self.open_session(access, |record, now| {
            let touched = record.touch(touch, now);
            let changed = if touched { Changed::Yes } else { Changed::No };
            (record.load(fields, now), changed)
        })
        .await
    }

    async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
        let folder = Arc::clone(&self.folder).lock_owned().await;
        let path = folder.file(create.handle);
        let now = now();
        if read(&path).map_err(unavailable)?.is_some_and(|held| held.is_known(now)) {
            return Err(StoreError::new(NAME, StoreErrorKind::Exists));
        }
        let record = Record::new(&create, now);
        in_background(folder, move || save(&path, &record)).await
    }

    async fn update(
        &self,
        access: Access<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        self.open_session(access, |record, now| match record.update(&update, now) {
            applied @ Updated::Applied { .. } => (applied, Changed::Yes),
            conflict @ Updated::Conflict { .. } => (conflict, Changed::No),
        })
        .await
    }

    async fn take(
        &self,
        access: Access<'_>,
        take: Take<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        self.open_session(access, |record, now| (record.take(&take, now), Changed::Yes)).await
    }

    async fn delete(&self, access: Access<'_>) -> Result<Lookup<()>, StoreError> {
        self.open_session(access, |record, now| (record.end(now), Changed::Yes)).await
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        let folder = Arc::clone(&self.folder).lock_owned().await;
        let path = folder.path.clone();
        in_background(folder, move || {
            let now = now();
            let mut freed = 0;
            for file in fs::read_dir(path)? {
                let file = file?.path();
                let is_session = file.extension().is_some_and(|extension| extension == "session");
                if freed < limit
                    && is_session
                    && read(&file)?.is_some_and(|held| !held.is_known(now))
                {
                    fs::remove_file(file)?;
                    freed += 1;
                }
            }
            Ok(freed)
        })
        .await
    }
}
