//! What a fake is to be.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// What a fake is to be; the default is E2B as it is now, over plain HTTP.
#[derive(Clone, Debug)]
pub struct Options {
    /// Serve TLS, and write the certificate of its authority to this file.
    pub tls: Option<PathBuf>,
    /// The port to listen on; 0 is any that is free.
    pub port: u16,
    /// The version of envd that sandboxes have: what is newer is not there.
    pub envd_version: Version,
    /// envd answers binary protobuf with 415.
    pub json_only: bool,
    /// What is started is not run: it has written a line and ended, at once. So a client is timed, and not what it
    /// starts.
    pub echo: bool,
    /// Which of the two ways to create and connect there are.
    pub api: Api,
    /// The `domain` of created sandboxes.
    pub domain: Option<String>,
    /// Running sandboxes at once.
    pub max_sandboxes: usize,
    /// Requests at once for one sandbox.
    pub max_connections: usize,
    /// Streams at once on one HTTP/2 connection.
    pub max_streams: u32,
    /// Hours that a sandbox may be asked to live.
    pub max_hours: u64,
    /// How long a pause takes.
    pub pausing: Duration,
    /// How long the exit of a process is remembered.
    pub exit_retention: Duration,
    /// Templates, beside those that every account has.
    pub templates: Vec<String>,
    /// The Python of its sandboxes, if not this machine's.
    pub python: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: None,
            port: 0,
            envd_version: Version(0, 6, 13),
            json_only: false,
            echo: false,
            api: Api::Both,
            domain: None,
            max_sandboxes: 100,
            max_connections: 1000,
            max_streams: 100,
            max_hours: 24,
            pausing: Duration::ZERO,
            exit_retention: Duration::from_secs(30),
            templates: Vec::new(),
            python: None,
        }
    }
}

/// Which versions of the calls to create and to connect there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `/sandboxes`, as servers have it that are not E2B's own.
    V1,
    /// `/v2/sandboxes` alone.
    V2,
    /// Both.
    Both,
}

/// A version, as envd tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16, pub u16);

impl Version {
    /// `CloseStdin`.
    pub const CLOSE_STDIN: Self = Self(0, 5, 2);
    /// Compressed content at `/files`.
    pub const GZIP: Self = Self(0, 5, 3);
    /// `/files/compose`.
    pub const COMPOSE: Self = Self(0, 5, 6);
    /// Files as the body itself.
    pub const OCTETS: Self = Self(0, 5, 7);
    /// A sandbox knows its user; before, every request names one.
    pub const DEFAULT_USER: Self = Self(0, 4, 0);
    /// A process may be started without standard input.
    pub const NO_STDIN: Self = Self(0, 3, 0);
    /// Access tokens.
    pub const ACCESS_TOKEN: Self = Self(0, 2, 0);
    /// Directories are watched with all that is below them.
    pub const RECURSIVE_WATCH: Self = Self(0, 1, 4);
    /// `/metrics`.
    pub const METRICS: Self = Self(0, 1, 5);
    /// Events of a watched directory tell what they are about.
    pub const EVENT_ENTRIES: Self = Self(0, 6, 3);
    /// The exit of a process is remembered.
    pub const EXIT_RETENTION: Self = Self(0, 6, 12);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Result<Vec<u16>, _> = text.split('.').map(str::parse).collect();
        match parts.as_deref() {
            Ok([major, minor, patch]) => Ok(Self(*major, *minor, *patch)),
            _ => Err(format!("no version: `{text}`")),
        }
    }
}

impl Options {
    /// Reads the arguments of the program.
    pub fn from_arguments(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut tls = false;
        let mut given = BTreeMap::new();
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--tls" => tls = true,
                "--json-only" => options.json_only = true,
                "--echo" => options.echo = true,
                "--template" => options.templates.push(arguments.next().ok_or("--template names none")?),
                "--ca" | "--port" | "--envd-version" | "--api" | "--domain" | "--max-sandboxes"
                | "--max-connections" | "--max-streams" | "--max-hours" | "--pausing"
                | "--exit-retention" | "--python" => {
                    let value = arguments.next().ok_or_else(|| format!("{name} has no value"))?;
                    given.insert(name, value);
                }
                _ => return Err(format!("unknown argument: {name}")),
            }
        }
        let mut take = |name: &str| given.remove(name);
        let ca = take("--ca").map(PathBuf::from);
        options.tls = match (tls, ca) {
            (true, Some(ca)) => Some(ca),
            (false, None) => None,
            _ => return Err("--tls and --ca FILE go together".to_owned()),
        };
        options.domain = take("--domain");
        options.python = take("--python");
        options.api = match take("--api").as_deref() {
            None | Some("both") => Api::Both,
            Some("v1") => Api::V1,
            Some("v2") => Api::V2,
            Some(other) => return Err(format!("--api is v1, v2 or both, not {other}")),
        };
        if let Some(text) = take("--envd-version") {
            options.envd_version = text.parse()?;
        }
        set(&mut options.port, take("--port"))?;
        set(&mut options.max_sandboxes, take("--max-sandboxes"))?;
        set(&mut options.max_connections, take("--max-connections"))?;
        set(&mut options.max_streams, take("--max-streams"))?;
        set(&mut options.max_hours, take("--max-hours"))?;
        for (duration, name) in
            [(&mut options.pausing, "--pausing"), (&mut options.exit_retention, "--exit-retention")]
        {
            let mut ms = duration.as_millis() as u64;
            set(&mut ms, take(name))?;
            *duration = Duration::from_millis(ms);
        }
        Ok(options)
    }
}

fn set<T: FromStr>(value: &mut T, text: Option<String>) -> Result<(), String> {
    if let Some(text) = text {
        *value = text.parse().map_err(|_| format!("no number: `{text}`"))?;
    }
    Ok(())
}
