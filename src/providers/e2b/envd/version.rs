//! Versions of envd: what it can do depends on when a template was built.

/// A version of envd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32, u32);

impl Version {
    /// Before it, standard input was open whether or not it was asked for.
    pub(super) const CLOSED_STDIN: Self = Self(0, 3, 0);
    /// Before it, a user had to be named.
    pub(super) const DEFAULT_USER: Self = Self(0, 4, 0);
    /// Before it, standard input could not be ended.
    pub(super) const CLOSE_STDIN: Self = Self(0, 5, 2);
    /// Takes the content of a file as it is.
    pub(super) const RAW_UPLOAD: Self = Self(0, 5, 7);
    /// Knows for a while how processes have ended.
    pub(super) const KEEPS_EXITS: Self = Self(0, 6, 12);

    /// Newer than any that is known.
    const NEWEST: Self = Self(u32::MAX, 0, 0);

    /// Reads a version. What is none is of somebody who has made a server of their own: such a one is taken to be
    /// like the newest.
    pub(crate) fn read(text: &str) -> Self {
        let core = text.trim().trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
        let mut numbers = core.split('.').map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => Self(major, minor, patch),
            (Some(Ok(major)), Some(Ok(minor)), None) => Self(major, minor, 0),
            _ => Self::NEWEST,
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(Version::read("0.5.10") > Version::RAW_UPLOAD);
        assert!(Version::read("v0.5.7-rc1+build") == Version::RAW_UPLOAD);
        assert!(Version::read("0.4") == Version::DEFAULT_USER);
        assert!(Version::read("99.99.99") > Version::KEEPS_EXITS);
        assert!(Version::read("mine") > Version::KEEPS_EXITS);
    }
}
