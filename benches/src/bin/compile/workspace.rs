//! Workspaces of generated crates, and the time that cargo takes for them.
//!
//! Called by all benchmarks. Does not know the content of the crates.

use std::{
    env,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

pub(crate) type Failure = Box<dyn Error>;

/// A generated crate.
pub(crate) struct Crate {
    pub(crate) name: String,
    dependency: String,
    source: String,
}

impl Crate {
    pub(crate) fn new(name: String, dependency: &str, source: String) -> Self {
        Self { name, dependency: dependency.to_owned(), source }
    }

    /// Writes the manifest and the source.
    fn write(&self, workspace: &Path) -> io::Result<()> {
        let Self { name, dependency, .. } = self;
        let package = format!("[package]\nname = '{name}'\nedition = '2024'\n");
        let folder = workspace.join(name);
        fs::create_dir_all(folder.join("src"))?;
        fs::write(folder.join("Cargo.toml"), format!("{package}\n[dependencies]\n{dependency}\n"))?;
        self.touch(workspace)
    }

    /// Writes the source, so that cargo compiles the crate again.
    fn touch(&self, workspace: &Path) -> io::Result<()> {
        fs::write(workspace.join(&self.name).join("src/lib.rs"), &self.source)
    }
}

/// A workspace of generated crates with a target directory of its own.
pub(crate) struct Workspace {
    folder: PathBuf,
}

impl Workspace {
    pub(crate) fn new(name: &str, crates: &[Crate]) -> Result<Self, Failure> {
        let program = env::current_exe()?;
        let target = program.ancestors().nth(2).ok_or("no target directory above the program")?;
        let folder = target.join("compile-time").join(name);
        let members: Vec<&str> = crates.iter().map(|member| &*member.name).collect();
        fs::create_dir_all(&folder)?;
        let manifest = format!("[workspace]\nresolver = '3'\nmembers = {members:?}\n");
        fs::write(folder.join("Cargo.toml"), manifest)?;
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
        fs::copy(lock, folder.join("Cargo.lock"))?;
        for member in crates {
            member.write(&folder)?;
        }
        Ok(Self { folder })
    }

    /// Returns the seconds of `cargo check` for the crate alone, without its dependencies.
    pub(crate) fn check(&self, member: &Crate) -> Result<f64, Failure> {
        self.time_one(member, &["check"])
    }

    /// Returns the seconds of a release build for the crate alone.
    pub(crate) fn release(&self, member: &Crate) -> Result<f64, Failure> {
        self.time_one(member, &["build", "--release"])
    }

    /// Runs cargo for the crate. Fails if anything else is compiled.
    fn time_one(&self, member: &Crate, command: &[&str]) -> Result<f64, Failure> {
        member.touch(&self.folder)?;
        let package = ["--offline", "--package", &member.name];
        let (compiled, seconds) = self.cargo(&[command, &package].concat())?;
        if compiled == [&*member.name] {
            Ok(seconds)
        } else {
            Err(format!("{compiled:?} were compiled, not only {}", member.name).into())
        }
    }

    /// Returns the number of dependencies of the crate, and the seconds of a clean build.
    pub(crate) fn build(&self, member: &Crate) -> Result<(usize, f64), Failure> {
        fs::remove_dir_all(self.target())?;
        let (compiled, seconds) = self.cargo(&["build", "--offline", "--package", &member.name])?;
        Ok((compiled.len().saturating_sub(1), seconds))
    }

    /// Runs cargo. Returns the names of the compiled crates, and the seconds.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Result<(Vec<String>, f64), Failure> {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args(arguments)
            .args(["--color", "never", "--manifest-path"])
            .arg(self.folder.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(self.target())
            // Below this folder, cargo uses the toolchain and the settings of this repository.
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            // An incremental run would do nothing, because the source does not change.
            .env("CARGO_INCREMENTAL", "0")
            .env_remove("RUSTC_WRAPPER");
        let start = Instant::now();
        let output = command.output()?;
        let seconds = start.elapsed().as_secs_f64();
        let log = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok((compiled(&log), seconds)) } else { Err(log.into()) }
    }

    fn target(&self) -> PathBuf {
        self.folder.join("target")
    }
}

/// Returns the crates of lines such as `   Checking bytes v1.10.1`.
fn compiled(log: &str) -> Vec<String> {
    let lines = log.lines().map(str::trim_start);
    let names = lines.filter_map(|line| {
        let rest = line.strip_prefix("Checking ").or_else(|| line.strip_prefix("Compiling "))?;
        rest.split(' ').next()
    });
    names.map(str::to_owned).collect()
}
