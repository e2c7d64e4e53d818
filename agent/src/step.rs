//! Naming what failed: every step towards a sandbox is a sentence that an error can quote.

use computesdk_agent::protocol::Failure;

/// The outcome of a step.
pub type Result<T> = std::result::Result<T, Failure>;

/// Gives a system call's error the name of the step that it belongs to.
pub trait Step<T> {
    /// The result, with the step's name in its error.
    fn step(self, name: impl Into<String>) -> Result<T>;
}

impl<T> Step<T> for std::io::Result<T> {
    fn step(self, name: impl Into<String>) -> Result<T> {
        self.map_err(|error| Failure { step: name.into(), errno: error.raw_os_error().unwrap_or(libc::EIO) })
    }
}

impl<T> Step<T> for rustix::io::Result<T> {
    fn step(self, name: impl Into<String>) -> Result<T> {
        self.map_err(|errno| Failure { step: name.into(), errno: errno.raw_os_error() })
    }
}

/// The result of a system call that answers -1 on failure.
pub fn checked(result: impl Into<i64>) -> std::io::Result<i64> {
    let result = result.into();
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}
