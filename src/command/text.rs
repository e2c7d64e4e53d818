//! Bytes that become text, in pieces or cut off, without a character being split.

/// Decodes a stream piece by piece without ever splitting a character.
#[derive(Debug, Default)]
pub struct Utf8 {
    /// The beginning of a character whose end has not arrived: three bytes at most.
    begun: Vec<u8>,
}

impl Utf8 {
    /// The text of what has arrived so far and was not given out yet.
    pub fn decode(&mut self, bytes: &[u8]) -> String {
        lossy(self.whole(bytes))
    }

    /// Likewise as bytes: they end where a character does.
    pub fn whole(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.begun.extend_from_slice(bytes);
        let rest = self.begun.split_off(complete(&self.begun));
        std::mem::replace(&mut self.begun, rest)
    }

    /// What is left when nothing more will arrive.
    pub fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.begun)
    }

    /// The text of that.
    pub fn finish(&mut self) -> String {
        lossy(self.rest())
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Where the last character that is not still arriving ends.
fn complete(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    for (back, byte) in bytes[from..].iter().enumerate().rev() {
        let length = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            0x80..=0xBF => continue,
            _ => return bytes.len(),
        };
        let at = from + back;
        let arrived = &bytes[at..];
        // Bytes that can never become a character are not waited for.
        let may_come = matches!(std::str::from_utf8(arrived), Err(error) if error.error_len().is_none());
        return if arrived.len() < length && may_come { at } else { bytes.len() };
    }
    bytes.len()
}

/// The text of the first bytes of many; cut off, it ends before the character that the cut went through.
pub(super) fn first(bytes: Vec<u8>, cut: bool) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if cut && error.utf8_error().error_len().is_none() => {
            let end = error.utf8_error().valid_up_to();
            lossy(error.as_bytes()[..end].to_vec())
        }
        Err(error) => lossy(error.into_bytes()),
    }
}

/// The text of the last bytes of many; cut off, it begins after the character that the cut went through.
pub(super) fn last(bytes: &[u8], cut: bool) -> String {
    let is_continued = |byte: &&u8| (0x80..=0xBF).contains(*byte);
    let skipped = if cut { bytes.iter().take(3).take_while(is_continued).count() } else { 0 };
    String::from_utf8_lossy(&bytes[skipped..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_never_split() {
        let text = "aé☕😀z\u{FFFD}";
        for size in 1..8 {
            let mut decoder = Utf8::default();
            let mut out = String::new();
            for piece in text.as_bytes().chunks(size) {
                out.push_str(&decoder.decode(piece));
            }
            out.push_str(&decoder.finish());
            assert_eq!(out, text);
        }
    }

    #[test]
    fn pieces_decode_to_what_the_whole_decodes_to() {
        let bytes = b"a\xff\xfe\x00\xc3(\xe2\x82z\xf0\x9f\x98\xf0\x9f\x98\x80\xed\xa0\x80\xc3";
        for size in 1..bytes.len() {
            let mut decoder = Utf8::default();
            let mut out = String::new();
            for piece in bytes.chunks(size) {
                out.push_str(&decoder.decode(piece));
            }
            out.push_str(&decoder.finish());
            assert_eq!(out, String::from_utf8_lossy(bytes), "in pieces of {size}");
        }
    }

    #[test]
    fn output_that_was_cut_begins_and_ends_at_a_character() {
        assert_eq!(first(b"a\xe2\x98".to_vec(), true), "a");
        assert_eq!(first(b"a\xe2\x98".to_vec(), false), "a\u{FFFD}");
        assert_eq!(last(b"\x98\x83a", true), "a");
        assert_eq!(last(b"\x98a", false), "\u{FFFD}a");
    }
}
