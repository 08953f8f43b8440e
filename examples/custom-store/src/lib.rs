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
    PrincipalKey, SessionId,
    store::{
        AuthChange, Confirmed, Create, Credentials, ListedSession, Loaded, Lookup, NewSignIn,
        OnLimit, PageRequest, Projection, RevokeTarget, Revoked, SessionLimit, SessionMeta,
        SessionPage, Store, StoreError, StoreErrorKind, TakeField, Touch, Update, Updated,
    },
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use self::record::{Opened, Record};

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
    /// How often everybody was signed out: sessions of an earlier epoch are over.
    epoch: u64,
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
        let epoch = match fs::read_to_string(path.join("epoch")) {
            Ok(epoch) => epoch.parse().map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(Self { folder: Arc::new(Mutex::new(Folder { path, epoch, _lock: lock })) })
    }

    /// Does `work` on the session that `credentials` opens, and saves it if it was changed.
    async fn open_session<T: Send>(
        &self,
        credentials: Credentials<'_>,
        work: impl FnOnce(&mut Record, Opened, Duration) -> (Lookup<T>, Changed) + Send,
    ) -> Result<Lookup<T>, StoreError> {
        let folder = Arc::clone(&self.folder).lock_owned().await;
        work_on(folder, credentials, work).await
    }
}

/// Does `work` in a folder that is locked already.
async fn work_on<T: Send>(
    folder: OwnedMutexGuard<Folder>,
    credentials: Credentials<'_>,
    work: impl FnOnce(&mut Record, Opened, Duration) -> (Lookup<T>, Changed) + Send,
) -> Result<Lookup<T>, StoreError> {
    let path = folder.file(credentials.id);
    let now = now();
    let Some(mut record) = folder.read(&path, now).map_err(unavailable)? else {
        return Ok(Lookup::NotFound);
    };
    let (answer, changed) = match record.open(credentials.secret, now) {
        Lookup::Found(opened) => work(&mut record, opened, now),
        Lookup::Replaced { ago } => (Lookup::Replaced { ago }, Changed::No),
        Lookup::Ended { ago } => (Lookup::Ended { ago }, Changed::No),
        Lookup::Unconfirmed { .. } | Lookup::NotFound => (Lookup::NotFound, Changed::No),
    };
    if let Changed::Yes = changed {
        in_background(folder, move |_| save(&path, &record)).await?;
    }
    Ok(answer)
}

/// Whether the session has to be saved.
enum Changed {
    Yes,
    No,
}

impl Folder {
    fn file(&self, id: &SessionId) -> PathBuf {
        self.path.join(format!("{id}.session"))
    }

    fn read(&self, path: &Path, now: Duration) -> io::Result<Option<Record>> {
        Ok(read(path)?.filter(|record| record.is_known(self.epoch, now)))
    }

    fn session_files(&self) -> io::Result<Vec<PathBuf>> {
        let files = fs::read_dir(&self.path)?.map(|file| Ok(file?.path()));
        let is_session = |path: &PathBuf| path.extension().is_some_and(|end| end == "session");
        files.filter(|path| path.as_ref().map_or(true, is_session)).collect()
    }

    /// The sessions of a principal, in the order of their ids.
    fn sessions_of(
        &self,
        principal: &PrincipalKey,
        now: Duration,
    ) -> io::Result<Vec<(SessionId, Record)>> {
        let mut sessions = Vec::new();
        for path in self.session_files()? {
            let id = path.file_stem().and_then(|name| name.to_str()?.parse().ok());
            if let (Some(id), Some(record)) = (id, self.read(&path, now)?)
                && record.signed_in_at(principal).is_some()
            {
                sessions.push((id, record));
            }
        }
        sessions.sort_unstable_by_key(|(id, _)| *id);
        Ok(sessions)
    }

    /// Leaves nothing of a session.
    fn forget(&self, id: &SessionId) -> io::Result<()> {
        fs::remove_file(self.file(id))
    }

    /// Makes room for another session of somebody, beside `own`.
    fn make_room(
        &self,
        own: &SessionId,
        principal: &PrincipalKey,
        limit: SessionLimit,
    ) -> Result<(), StoreError> {
        let now = now();
        let mut others = self.sessions_of(principal, now).map_err(unavailable)?;
        others.retain(|(id, _)| id != own);
        let beyond = (others.len() + 1).saturating_sub(limit.sessions.max(1) as usize);
        if beyond > 0 && limit.on_limit == OnLimit::Reject {
            return Err(StoreError::new(NAME, StoreErrorKind::SessionLimit));
        }
        others.sort_by_key(|(_, record)| record.signed_in_at(principal));
        for (id, _) in others.into_iter().take(beyond) {
            self.forget(&id).map_err(unavailable)?;
        }
        Ok(())
    }
}

/// Runs `work` where it may block. The folder stays locked until it is done, even if the caller
/// loses interest: otherwise a late rename could undo a later write.
async fn in_background<T: Send + 'static>(
    mut folder: OwnedMutexGuard<Folder>,
    work: impl FnOnce(&mut Folder) -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(move || work(&mut folder));
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
    replace(path, &rmp_serde::to_vec(record).map_err(io::Error::other)?)
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

impl Store for FileStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn load(
        &self,
        credentials: Credentials<'_>,
        fields: Projection<'_>,
        touch: Option<Touch>,
    ) -> Result<Lookup<Loaded>, StoreError> {
        self.open_session(credentials, |record, opened, now| {
            let confirmed = touch.is_some() && record.confirm(opened, now);
            let touched = record.touch(touch, opened, now);
            let changed = if touched || confirmed { Changed::Yes } else { Changed::No };
            (Lookup::Found(record.load(fields, opened, now)), changed)
        })
        .await
    }

    async fn create(&self, create: Create<'_>) -> Result<(), StoreError> {
        let folder = Arc::clone(&self.folder).lock_owned().await;
        let path = folder.file(create.id);
        if folder.read(&path, now()).map_err(unavailable)?.is_some() {
            return Err(StoreError::new(NAME, StoreErrorKind::Exists));
        }
        if let Some(NewSignIn { principal, limit: Some(limit), .. }) = create.sign_in {
            folder.make_room(create.id, principal, limit)?;
        }
        let record = Record::new(&create, folder.epoch, now());
        in_background(folder, move |_| save(&path, &record)).await
    }

    async fn update(
        &self,
        credentials: Credentials<'_>,
        update: Update<'_>,
    ) -> Result<Lookup<Updated>, StoreError> {
        let folder = Arc::clone(&self.folder).lock_owned().await;
        if let Some(AuthChange::In {
            who: NewSignIn { principal, limit: Some(limit), .. }, ..
        }) = update.sign
        {
            // Nobody makes room for one who is refused.
            let path = folder.file(credentials.id);
            let record = folder.read(&path, now()).map_err(unavailable)?;
            let may = record.is_some_and(|record| {
                let opened = record.open(credentials.secret, now());
                matches!(opened, Lookup::Found(opened)
                    if record.refusal(&update, opened, now()).is_none())
            });
            if may {
                folder.make_room(credentials.id, principal, limit)?;
            }
        }
        work_on(folder, credentials, |record, opened, now| {
            if let Some(refusal) = record.refusal(&update, opened, now) {
                let confirmed = record.confirm(opened, now);
                return (refusal, if confirmed { Changed::Yes } else { Changed::No });
            }
            record.confirm(opened, now);
            let found = record.update(credentials.secret, &update, opened, now);
            (Lookup::Found(Updated::Applied { found }), Changed::Yes)
        })
        .await
    }

    async fn take(
        &self,
        credentials: Credentials<'_>,
        take: TakeField<'_>,
    ) -> Result<Lookup<Option<Bytes>>, StoreError> {
        self.open_session(credentials, |record, opened, now| {
            (record.take(credentials.secret, &take, opened, now), Changed::Yes)
        })
        .await
    }

    async fn delete(&self, credentials: Credentials<'_>) -> Result<Lookup<()>, StoreError> {
        self.open_session(credentials, |record, _, now| {
            record.end(now);
            (Lookup::Found(()), Changed::Yes)
        })
        .await
    }

    async fn inspect(&self, id: &SessionId) -> Result<Option<SessionMeta>, StoreError> {
        let folder = Arc::clone(&self.folder).lock_owned().await;
        let now = now();
        let record = folder.read(&folder.file(id), now).map_err(unavailable)?;
        Ok(record.filter(Record::is_live).map(|record| record.meta(Opened::ByItsOwn, now)))
    }

    async fn list_by_principal(
        &self,
        principal: &PrincipalKey,
        page: PageRequest<'_>,
        fields: Projection<'_>,
    ) -> Result<SessionPage, StoreError> {
        let folder = Arc::clone(&self.folder).lock_owned().await;
        let now = now();
        let mut sessions = folder.sessions_of(principal, now).map_err(unavailable)?;
        sessions.retain(|(id, _)| page.after.is_none_or(|after| id > after));
        let is_more = sessions.len() > page.limit.max(1);
        sessions.truncate(page.limit.max(1));
        let next = sessions.last().filter(|_| is_more).map(|(id, _)| *id);
        let listed = sessions.iter().map(|(id, record)| ListedSession {
            id: *id,
            loaded: record.load(fields, Opened::ByItsOwn, now),
        });
        Ok(SessionPage { sessions: listed.collect(), next })
    }

    async fn revoke(
        &self,
        principal: &PrincipalKey,
        target: RevokeTarget<'_>,
    ) -> Result<Revoked, StoreError> {
        let folder = Arc::clone(&self.folder).lock_owned().await;
        let mut sessions = folder.sessions_of(principal, now()).map_err(unavailable)?;
        sessions.retain(|(id, _)| match target {
            RevokeTarget::One(one) => id == one,
            RevokeTarget::All { except } => Some(id) != except,
        });
        let ids = sessions.iter().map(|(id, _)| *id).collect();
        in_background(folder, move |folder| {
            sessions.iter().try_for_each(|(id, _)| folder.forget(id))
        })
        .await?;
        Ok(Revoked { ids, confirmed: Confirmed::Yes })
    }

    async fn revoke_everyone(&self) -> Result<Confirmed, StoreError> {
        let folder = Arc::clone(&self.folder).lock_owned().await;
        in_background(folder, move |folder| {
            let epoch = folder.epoch + 1;
            replace(&folder.path.join("epoch"), epoch.to_string().as_bytes())?;
            folder.epoch = epoch;
            Ok(())
        })
        .await?;
        Ok(Confirmed::Yes)
    }

    async fn delete_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let folder = Arc::clone(&self.folder).lock_owned().await;
        in_background(folder, move |folder| {
            let mut freed = 0;
            for path in folder.session_files()? {
                if freed < limit && folder.read(&path, now())?.is_none() {
                    fs::remove_file(path)?;
                    freed += 1;
                }
            }
            Ok(freed)
        })
        .await
    }
}
