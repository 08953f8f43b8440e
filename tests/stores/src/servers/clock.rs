//! The clock of a server, which a test sets: [`Clock`].

use std::{fs, path::PathBuf, sync::OnceLock};

use super::process::{find_servers, new_folder};

/// The clock of the servers that were started with this value. The clock of the machine stays as it
/// is.
///
/// `libfaketime` changes the time of day that the server reads. It does not change how long the
/// server waits. A program with an allocator of its own, such as the `redis-server` of Debian, does
/// not start with it.
pub struct Clock {
    folder: PathBuf,
}

impl Clock {
    /// Creates a clock that shows the time of the machine.
    pub fn new() -> Self {
        let clock = Self { folder: new_folder("clock") };
        // The user of a server need not have access to the folder of the downloads.
        fs::copy(library(), clock.library()).expect("the library should be readable");
        clock.set(0);
        clock
    }

    /// Sets the clock this many seconds before or after the clock of the machine.
    pub fn set(&self, seconds: i64) {
        let next = self.folder.join("next");
        fs::write(&next, format!("{seconds:+}\n")).expect("the folder should be writable");
        fs::rename(next, self.folder.join("offset")).expect("the folder should be writable");
    }

    fn library(&self) -> PathBuf {
        self.folder.join("libfaketime.so")
    }

    /// Returns the words to put before the command of a server, so that the server reads this
    /// clock.
    pub(super) fn words(&self) -> Vec<String> {
        let file = self.folder.join("offset");
        vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", self.library().display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "FAKETIME_NO_CACHE=1".to_owned(),
        ]
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns the path of the library.
fn library() -> &'static str {
    static LIBRARY: OnceLock<String> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        find_servers(Some("faketime"))
            .remove("faketime")
            .expect("scripts/servers should print the path of the library")
    })
}
