//! Signals by their names in Node, after `signal(7)`.

#[cfg(feature = "napi")]
use crate::error::{Error, Result};

pub(crate) const INT: i32 = 2;
pub(crate) const KILL: i32 = 9;
pub(crate) const PIPE: i32 = 13;

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// `SIGTERM` for 15.
pub(crate) fn name(number: i32) -> String {
    match usize::try_from(number - 1).ok().and_then(|at| NAMES.get(at)) {
        Some(name) => format!("SIG{name}"),
        None => format!("SIG{number}"),
    }
}

/// 15 for `SIGTERM`.
#[cfg(feature = "napi")]
pub(crate) fn number(name: &str) -> Result<i32> {
    let at = name.strip_prefix("SIG").and_then(|name| NAMES.iter().position(|known| *known == name));
    at.map(|at| at as i32 + 1).ok_or_else(|| {
        Error::invalid(format!("`signal` names no signal: '{name}'"))
            .with_hint("names are as in signal(7): 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', …")
    })
}
