//! What the kernel said, in Go's words: envd passes them on.

use std::io;

use computesdk::error::Error;

/// The reason of an error, as the real server has it at the end of its message.
pub fn of(error: &Error) -> String {
    let said = error.source_ref().and_then(|source| source.downcast_ref::<io::Error>());
    let Some(said) = said.filter(|said| said.raw_os_error().is_some()) else { return error.to_string() };
    // As libc has it, but for the capital and the number.
    let text = said.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use computesdk::error::ErrorKind;

    use super::*;

    #[test]
    fn they_are_those_of_the_kernel() {
        let error = |number| {
            let source = io::Error::from_raw_os_error(number);
            of(&Error::new(ErrorKind::Internal, "our own words: /path").with_source(source))
        };
        assert_eq!(error(40), "too many levels of symbolic links");
        assert_eq!(error(28), "no space left on device");
        assert_eq!(of(&Error::invalid("not a regular file: /path")), "not a regular file: /path");
    }
}
