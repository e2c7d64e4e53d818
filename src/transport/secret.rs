//! What never appears in a message, a log or a `Debug`.

use std::fmt::{self, Debug};

use reqwest::header::{HeaderValue, InvalidHeaderValue};

/// A key or a token.
///
/// ```
/// use computesdk::providers::e2b::Secret;
///
/// assert_eq!(format!("{:?}", Secret::from("e2b_1")), "Secret");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Itself, for the one place that needs it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// As the value of a header, which a `Debug` of the headers hides too.
    pub(crate) fn header(&self) -> Result<HeaderValue, InvalidHeaderValue> {
        let mut value = HeaderValue::from_str(&self.0)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// A text of somebody else, without it.
    pub(crate) fn hidden_in(&self, text: String) -> String {
        if self.0.is_empty() || !text.contains(&self.0) { text } else { text.replace(&self.0, "…") }
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
