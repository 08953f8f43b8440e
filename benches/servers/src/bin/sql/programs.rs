//! The programs of ruts and of the peer, and the temporary folders for the databases.
//!
//! Called by the benchmark. Does not know what the programs do.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use benches::visits::{Figures, Job};

/// A benchmark program, which runs one [`Job`] in each process.
pub(crate) struct Program(PathBuf);

impl Program {
    /// Returns this program.
    pub(crate) fn ours() -> Self {
        Self(env::current_exe().unwrap())
    }

    /// Builds the program of the peer, in a folder below the target folder of this one.
    pub(crate) fn peer() -> Self {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../sql-peer/Cargo.toml");
        let folder = target().join("sql-peer");
        let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--release", "--locked", "--manifest-path", manifest, "--target-dir"])
            .arg(&folder)
            .status();
        assert!(built.is_ok_and(|status| status.success()), "the program of the peer should build");
        Self(folder.join("release/sql-peer"))
    }

    /// Measures a round.
    pub(crate) fn measure(&self, job: &Job) -> Figures {
        self.run(job).parse().unwrap()
    }

    /// Returns how many increments were kept.
    pub(crate) fn count(&self, job: &Job) -> u32 {
        self.run(job).parse().unwrap()
    }

    /// Does a job in a process of its own, and returns the line that it prints.
    fn run(&self, job: &Job) -> String {
        let output = Command::new(&self.0).args(job.args()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} should do {job:?}: {log}", self.0.display());
        text.lines().last().unwrap_or_default().to_owned()
    }
}

/// Returns the target folder of this program.
fn target() -> PathBuf {
    let program = env::current_exe().unwrap();
    program.ancestors().nth(2).expect("the program should be below the target folder").to_owned()
}

/// A folder that is removed when dropped.
pub(crate) struct Folder {
    is_in_memory: bool,
    path: PathBuf,
}

impl Folder {
    /// Creates a folder in memory.
    pub(crate) fn in_memory() -> Self {
        Self::new(true, Path::new("/dev/shm"))
    }

    /// Creates a folder on the disk, below the target folder.
    pub(crate) fn on_disk() -> Self {
        Self::new(false, &target())
    }

    fn new(is_in_memory: bool, parent: &Path) -> Self {
        let kind = Command::new("stat").args(["-f", "-c", "%T"]).arg(parent).output().unwrap();
        let is_tmpfs = kind.stdout.trim_ascii() == b"tmpfs";
        assert_eq!(
            is_tmpfs,
            is_in_memory,
            "the file system of {} should be tmpfs only for a folder in memory",
            parent.display()
        );
        let path = parent.join(format!("ruts-sql-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self { is_in_memory, path }
    }

    pub(crate) fn name(&self) -> &'static str {
        if self.is_in_memory { "tmpfs" } else { "disk" }
    }

    pub(crate) const fn is_in_memory(&self) -> bool {
        self.is_in_memory
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
