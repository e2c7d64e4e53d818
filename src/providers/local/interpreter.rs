//! Finding the Python and the Node of this machine, wherever they are installed.
//!
//! Looked for once in a process. What lies outside /usr is seen in the sandbox, read-only, below /opt.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::config;
use crate::error::{Error, Result};

/// How long a `python3` that is a script may take to tell where the real one is.
const ASKING: Duration = Duration::from_secs(10);

/// An interpreter of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interpreter {
    /// The program itself, links resolved.
    pub(super) program: PathBuf,
    /// The packages of a virtual environment, in place of its own.
    pub(super) packages: Option<PathBuf>,
}

impl Interpreter {
    fn of(program: &Path) -> Option<Self> {
        let program = fs::canonicalize(program).ok()?;
        is_executable(&program).then_some(Self { program, packages: None })
    }

    /// Whether every sandbox has it anyway.
    pub(super) fn is_common(&self) -> bool {
        self.program.starts_with("/usr")
    }

    /// Its name: `python3.11`, `node`.
    pub(super) fn name(&self) -> String {
        self.program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The directory of a Python's modules: `python3.11`.
    pub(super) fn library(&self) -> Option<String> {
        let name = self.name();
        if name.starts_with("python3.") {
            return Some(name);
        }
        // A program that is only called `python3` has one version beside it.
        let lib = self.prefix()?.join("lib");
        let mut versions =
            fs::read_dir(lib).ok()?.flatten().filter(|entry| entry.path().join("os.py").is_file());
        versions.next().map(|entry| entry.file_name().to_string_lossy().into_owned())
    }

    /// The directory that it was installed into.
    fn prefix(&self) -> Option<&Path> {
        self.program.parent().filter(|bin| bin.ends_with("bin"))?.parent()
    }

    /// What of a Python's installation must be seen for it to work: (path on the host, path below its prefix).
    ///
    /// Never the whole of the prefix, which may be somebody's home. An environment of conda, which is an
    /// installation and nothing else, keeps the libraries of its modules loose in `lib`.
    pub(super) fn python_parts(&self) -> Vec<(PathBuf, String)> {
        let mut parts = vec![(self.program.clone(), format!("bin/{}", self.name()))];
        let Some(prefix) = self.prefix() else { return parts };
        if prefix.join("conda-meta").is_dir() {
            parts.push((prefix.join("lib"), "lib".to_owned()));
            return parts;
        }
        for directory in ["lib", "lib64"] {
            for entry in fs::read_dir(prefix.join(directory)).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let library = name.starts_with("libpython") && name.contains(".so");
                let modules = name.starts_with("python3") && entry.path().join("os.py").is_file();
                if library || modules {
                    parts.push((entry.path(), format!("{directory}/{name}")));
                }
            }
        }
        parts
    }

    /// Likewise of a Node's: the program and its npm.
    pub(super) fn node_parts(&self) -> Vec<(PathBuf, String)> {
        let npm = "lib/node_modules/npm";
        let there =
            self.prefix().map(|prefix| prefix.join(npm)).filter(|path| path.join("package.json").is_file());
        let program = (self.program.clone(), "bin/node".to_owned());
        std::iter::once(program).chain(there.map(|path| (path, npm.to_owned()))).collect()
    }
}

/// The Python that is asked for, or this machine's.
pub(super) async fn python(asked: Option<&str>) -> Result<Option<Interpreter>> {
    static FOUND: OnceCell<Option<Interpreter>> = OnceCell::const_new();
    match asked {
        Some(path) => {
            let found = named("python", path)?;
            let packages = packages(Path::new(path), &found)?;
            Ok(Some(Interpreter { packages, ..found }))
        }
        None => Ok(FOUND.get_or_init(find_python).await.clone()),
    }
}

/// The Node that is asked for, or the one that this process is, or this machine's.
pub(super) async fn node(asked: Option<&str>) -> Result<Option<Interpreter>> {
    static FOUND: OnceCell<Option<Interpreter>> = OnceCell::const_new();
    match asked {
        Some(path) => named("node", path).map(Some),
        None => Ok(FOUND.get_or_init(async || find_node()).await.clone()),
    }
}

fn named(option: &str, path: &str) -> Result<Interpreter> {
    if !path.starts_with('/') {
        return Err(Error::invalid(format!(
            "`{option}` must be the absolute path of a program, got `{path}`"
        )));
    }
    Interpreter::of(Path::new(path))
        .ok_or_else(|| Error::invalid(format!("`{option}` is no program of this machine: `{path}`")))
}

/// Where a Python has its packages, if it is that of a virtual environment (PEP 405): `pyvenv.cfg` lies beside the
/// directory of its program.
fn packages(program: &Path, found: &Interpreter) -> Result<Option<PathBuf>> {
    let Some(environment) = program.parent().and_then(Path::parent) else { return Ok(None) };
    let Ok(settings) = fs::read_to_string(environment.join("pyvenv.cfg")) else { return Ok(None) };
    let shares = settings.lines().filter_map(|line| line.split_once('=')).any(|(key, value)| {
        key.trim() == "include-system-site-packages" && value.trim().eq_ignore_ascii_case("true")
    });
    let refused = |why: &str| {
        Error::unsupported(format!("`python`: the virtual environment {} {why}", environment.display()))
            .with_hint("make one with `python3 -m venv`, and install into it what code is to have")
    };
    if shares {
        return Err(refused("takes the packages of the system too"));
    }
    let packages = found.library().map(|library| environment.join("lib").join(library).join("site-packages"));
    match packages.filter(|path| path.is_dir()) {
        Some(path) => Ok(Some(path)),
        None => Err(refused("has no packages for its own Python")),
    }
}

fn find_node() -> Option<Interpreter> {
    let current =
        config::current_program().filter(|path| path.file_name().is_some_and(|name| name == "node"));
    current
        .iter()
        .find_map(|path| Interpreter::of(path))
        .or_else(|| on_path("node").find_map(|path| Interpreter::of(&path)))
}

/// A `python3` that is a script stands for another, as those of version managers do: it is asked.
async fn find_python() -> Option<Interpreter> {
    for path in on_path("python3") {
        if is_script(&path) {
            if let Some(prefix) = ask_for_prefix(&path).await
                && let Some(found) = Interpreter::of(&prefix.join("bin/python3"))
            {
                return Some(found);
            }
        } else if let Some(found) = Interpreter::of(&path) {
            return Some(found);
        }
    }
    None
}

#[expect(clippy::disallowed_methods, reason = "the user's own interpreter, found on the user's own PATH")]
async fn ask_for_prefix(python: &Path) -> Option<PathBuf> {
    let asked = tokio::process::Command::new(python)
        .args(["-c", "import sys; print(sys.base_prefix)"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let answer = tokio::time::timeout(ASKING, asked).await.ok()?.ok()?;
    let prefix = PathBuf::from(String::from_utf8(answer.stdout).ok()?.trim());
    prefix.is_absolute().then_some(prefix)
}

fn on_path(name: &str) -> impl Iterator<Item = PathBuf> {
    config::search_path()
        .into_iter()
        .filter(|directory| directory.is_absolute())
        .map(move |directory| directory.join(name))
        .filter(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"#!"
}
