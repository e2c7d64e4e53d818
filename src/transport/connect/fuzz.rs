//! Streams of a server that may say anything.

use super::envelope::{Envelope, Opener, enclose};

/// A stream in envelopes: the same however it was cut into pieces; and a message that is put into an envelope comes out.
pub(crate) fn stream(bytes: &[u8]) {
    let (size, bytes) =
        bytes.split_first().map_or((1, bytes), |(size, rest)| (usize::from(*size).max(1), rest));
    let whole = opened(std::iter::once(bytes));
    assert_eq!(whole, opened(bytes.chunks(size)), "in pieces of {size}");

    let enclosed = enclose(bytes);
    let (envelopes, sound) = opened(std::iter::once(&enclosed[..]));
    assert!(sound);
    assert!(matches!(&envelopes[..], [Envelope::Message(message)] if message[..] == *bytes));
}

/// What was in the envelopes up to the first that is none, and whether there was no such.
fn opened<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Envelope>, bool) {
    let (mut opener, mut envelopes) = (Opener::default(), Vec::new());
    for piece in pieces {
        opener.push(piece);
        loop {
            match opener.next() {
                Ok(Some(envelope)) => envelopes.push(envelope),
                Ok(None) => break,
                Err(_) => return (envelopes, false),
            }
        }
    }
    (envelopes, true)
}
