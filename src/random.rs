//! Names that nobody can guess.

use crate::error::{Error, ErrorKind, Result};

/// 128 bits, in 32 hexadecimal digits.
pub(crate) fn name() -> Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("this machine has no random numbers: {error}"))
    })?;
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}
