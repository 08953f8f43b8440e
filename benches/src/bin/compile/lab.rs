//! Crates that are generated and compiled.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use crate::Failure;

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

    fn write(&self, workspace: &Path) -> io::Result<()> {
        let Self { name, dependency, .. } = self;
        let package = format!("[package]\nname = '{name}'\nedition = '2024'\n");
        let folder = workspace.join(name);
        fs::create_dir_all(folder.join("src"))?;
        fs::write(folder.join("Cargo.toml"), format!("{package}\n[dependencies]\n{dependency}\n"))?;
        self.touch(workspace)
    }

    fn touch(&self, workspace: &Path) -> io::Result<()> {
        fs::write(workspace.join(&self.name).join("src/lib.rs"), &self.source)
    }
}

/// A workspace of generated crates, with a target directory of its own.
pub(crate) struct Lab {
    folder: PathBuf,
}

impl Lab {
    pub(crate) fn new(name: &str, crates: &[Crate]) -> Result<Self, Failure> {
        let program = env::current_exe()?;
        let target = program.ancestors().nth(2).ok_or("no target directory above the program")?;
        let folder = target.join("compile-time").join(name);
        let members: Vec<&str> = crates.iter().map(|leaf| &*leaf.name).collect();
        fs::create_dir_all(&folder)?;
        let workspace = format!("[workspace]\nresolver = '3'\nmembers = {members:?}\n");
        fs::write(folder.join("Cargo.toml"), workspace)?;
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
        fs::copy(lock, folder.join("Cargo.lock"))?;
        for leaf in crates {
            leaf.write(&folder)?;
        }
        Ok(Self { folder })
    }

    /// How many seconds checking the crate takes once its dependencies are there.
    pub(crate) fn check(&self, leaf: &Crate) -> Result<f64, Failure> {
        self.alone(leaf, &["check"])
    }

    /// How many seconds its release build takes then.
    pub(crate) fn release(&self, leaf: &Crate) -> Result<f64, Failure> {
        self.alone(leaf, &["build", "--release"])
    }

    fn alone(&self, leaf: &Crate, what: &[&str]) -> Result<f64, Failure> {
        leaf.touch(&self.folder)?;
        let package = ["--offline", "--package", &leaf.name];
        let (compiled, seconds) = self.cargo(&[what, &package].concat())?;
        if compiled == [&*leaf.name] {
            Ok(seconds)
        } else {
            Err(format!("not only {} was compiled, but {compiled:?}", leaf.name).into())
        }
    }

    /// How many dependencies the crate has, and how many seconds it and they take to build.
    pub(crate) fn build(&self, leaf: &Crate) -> Result<(usize, f64), Failure> {
        fs::remove_dir_all(self.target())?;
        let (compiled, seconds) = self.cargo(&["build", "--offline", "--package", &leaf.name])?;
        Ok((compiled.len().saturating_sub(1), seconds))
    }

    /// Runs cargo, and says what it compiled and how many seconds it took.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Result<(Vec<String>, f64), Failure> {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args(arguments)
            .args(["--color", "never", "--manifest-path"])
            .arg(self.folder.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(self.target())
            // The toolchain and the settings of this workspace hold below its folder.
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            // The source does not change between two runs, so incremental ones would do nothing.
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

/// The crates in lines such as `   Checking bytes v1.10.1`.
fn compiled(log: &str) -> Vec<String> {
    let lines = log.lines().map(str::trim_start);
    let names = lines.filter_map(|line| {
        let rest = line.strip_prefix("Checking ").or_else(|| line.strip_prefix("Compiling "))?;
        rest.split(' ').next()
    });
    names.map(str::to_owned).collect()
}
