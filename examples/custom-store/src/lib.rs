//! A store outside ruts: one file for each session, so that sessions survive a restart.
//!
//! [`FileStore`] implements [`RecordStore`] and thereby the whole contract of
//! [`Store`](ruts::store::Store), as `tests/conformance.rs` shows. The rules of a session come from
//! [`SessionRecord`]. This file only reads, locks and writes. One process at a time can open a
//! folder.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use ruts::{
    auth::PrincipalKey,
    store::{RecordStore, SessionRecord, StoreError, StoreErrorKind},
    token::SessionId,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

const NAME: &str = "file";

/// A store that keeps each session as a file in a folder.
///
/// Operations run one at a time. A file is replaced by renaming a complete new one over it, so that
/// a crash leaves the old or the new session.
#[derive(Clone)]
pub struct FileStore {
    folder: Arc<Mutex<Folder>>,
    /// One lock for the lists of all principals.
    principals: Arc<Mutex<()>>,
}

struct Folder {
    path: PathBuf,
    /// A lock that keeps other processes out. The operating system releases the lock when the
    /// process ends.
    _lock: File,
}

impl FileStore {
    /// Opens the folder, and creates it if it is missing.
    ///
    /// # Errors
    ///
    /// The folder cannot be created or written, or another process has it open.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        fs::create_dir_all(path.join("sessions"))?;
        let lock = File::create(path.join("lock"))?;
        lock.try_lock()?;
        let folder = Folder { path, _lock: lock };
        Ok(Self { folder: Arc::new(Mutex::new(folder)), principals: Arc::default() })
    }

    /// Returns up to `limit` sessions whose record `choose` accepts.
    async fn search(
        &self,
        limit: usize,
        mut choose: impl FnMut(&SessionRecord) -> bool,
    ) -> Result<Vec<SessionId>, StoreError> {
        let folder = self.folder.lock().await;
        let mut found = Vec::new();
        for file in fs::read_dir(folder.sessions()).map_err(unavailable)? {
            let path = file.map_err(unavailable)?.path();
            let id = path.file_stem().and_then(|name| name.to_str()?.parse().ok());
            if let (Some(id), Some(record)) = (id, read(&path)?)
                && found.len() < limit
                && choose(&record)
            {
                found.push(id);
            }
        }
        Ok(found)
    }
}

impl RecordStore for FileStore {
    type PrincipalLock = OwnedMutexGuard<()>;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn with_record<T: Send>(
        &self,
        id: &SessionId,
        operation: impl FnOnce(&mut Option<SessionRecord>, Duration) -> T + Send,
    ) -> Result<T, StoreError> {
        let folder = Arc::clone(&self.folder).lock_owned().await;
        let path = folder.sessions().join(format!("{id}.session"));
        let mut record = read(&path)?;
        let was_there = record.is_some();
        let answer = operation(&mut record, now());
        match record {
            Some(record) if record.is_modified() => {
                in_background(folder, move |_| replace(&path, &record.encode())).await?;
            }
            None if was_there => in_background(folder, move |_| fs::remove_file(path)).await?,
            Some(_) | None => {}
        }
        Ok(answer)
    }

    async fn lock_principal(&self, _: &PrincipalKey) -> Result<Self::PrincipalLock, StoreError> {
        Ok(Arc::clone(&self.principals).lock_owned().await)
    }

    async fn sessions_of(
        &self,
        principal: &PrincipalKey,
        _: &mut Self::PrincipalLock,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.search(usize::MAX, |record| record.principal() == Some(*principal)).await
    }

    async fn expired(&self, limit: usize) -> Result<Vec<SessionId>, StoreError> {
        self.search(limit, |record| !record.is_retained(now())).await
    }

    /// Renames the folder of all sessions. Deleting its files takes longer, so no caller waits for
    /// the deletion.
    async fn end_all(&self) -> Result<(), StoreError> {
        let folder = Arc::clone(&self.folder).lock_owned().await;
        let old = folder.path.join(format!("removed-{}", now().as_nanos()));
        let removed = old.clone();
        in_background(folder, move |folder| {
            fs::rename(folder.sessions(), old)?;
            fs::create_dir(folder.sessions())
        })
        .await?;
        tokio::task::spawn_blocking(move || fs::remove_dir_all(removed));
        Ok(())
    }
}

impl Folder {
    fn sessions(&self) -> PathBuf {
        self.path.join("sessions")
    }
}

/// Runs `work` on a thread that may block. The folder stays locked until `work` is done, even if
/// the caller is cancelled. Otherwise a late rename could undo a later write.
async fn in_background<T: Send + 'static>(
    folder: OwnedMutexGuard<Folder>,
    work: impl FnOnce(&Folder) -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(move || work(&folder)).await {
        Ok(result) => result.map_err(unavailable),
        Err(stopped) => {
            Err(StoreError::new(NAME, StoreErrorKind::OutcomeUnknown).with_source(stopped))
        }
    }
}

fn read(path: &Path) -> Result<Option<SessionRecord>, StoreError> {
    match fs::read(path) {
        Ok(bytes) if path.extension().is_some_and(|end| end == "session") => {
            let corrupt = |error| StoreError::new(NAME, StoreErrorKind::Corrupt).with_source(error);
            SessionRecord::decode(bytes.into()).map(Some).map_err(corrupt)
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unavailable(error)),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(new, path)
}

/// The wall clock, since sessions outlive the process.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Returns the error of a failed read or write. A write takes effect only with its rename, so a
/// failed write changes nothing.
fn unavailable(error: io::Error) -> StoreError {
    StoreError::new(NAME, StoreErrorKind::Unavailable).with_source(error)
}
