//! Envelopes: what the messages of a stream are put into, one byte of flags and four of length before each.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Deserialize;

use super::fault::{Fault, Refusal, RefusalBody};

const COMPRESSED: u8 = 1;
const END: u8 = 2;
const HEAD: usize = 5;

/// The longest message. Nothing that is sent here comes near; what claims to be longer is no message.
const LONGEST: usize = 32 << 20;

/// Puts a message into an envelope.
pub(super) fn enclose(message: &[u8]) -> Bytes {
    let mut enclosed = BytesMut::with_capacity(HEAD + message.len());
    enclosed.put_u8(0);
    enclosed.put_u32(message.len() as u32);
    enclosed.put_slice(message);
    enclosed.freeze()
}

/// What was in an envelope.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Envelope {
    /// A message.
    Message(Bytes),
    /// The end of the stream: a good one, or not.
    End(Result<(), Refusal>),
}

/// Takes messages out of bytes that arrive in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Opener(BytesMut);

impl Opener {
    /// More bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next envelope that has arrived whole.
    pub(super) fn next(&mut self) -> Result<Option<Envelope>, Fault> {
        let Some((head, _)) = self.0.split_first_chunk::<HEAD>() else { return Ok(None) };
        let [flags, length @ ..] = *head;
        let length = u32::from_be_bytes(length) as usize;
        if flags & COMPRESSED != 0 {
            return Err(Fault::Nonsense("a message is compressed, which was not asked for".to_owned()));
        }
        if length > LONGEST {
            return Err(Fault::Nonsense(format!("a message claims to have {length} bytes")));
        }
        if self.0.len() < HEAD + length {
            return Ok(None);
        }
        self.0.advance(HEAD);
        let message = self.0.split_to(length).freeze();
        if flags & END == 0 {
            return Ok(Some(Envelope::Message(message)));
        }
        Ok(Some(Envelope::End(end(&message)?)))
    }
}

/// What the last envelope says.
fn end(message: &[u8]) -> Result<Result<(), Refusal>, Fault> {
    #[derive(Deserialize)]
    struct End {
        error: Option<RefusalBody>,
    }
    let end: End = serde_json::from_slice(message).map_err(|error| Fault::Nonsense(error.to_string()))?;
    Ok(end.error.map_or(Ok(()), |error| Err(error.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::connect::Code;

    /// A stream of messages of all kinds of lengths, with its end.
    fn stream() -> (Vec<u8>, Vec<Bytes>) {
        let messages: Vec<Bytes> =
            [0, 1, 4, 5, 6, 255, 256, 300].map(|length| Bytes::from(vec![length as u8; length])).into();
        let mut bytes: Vec<u8> = messages.iter().flat_map(|message| enclose(message)).collect();
        bytes.extend([END, 0, 0, 0, 2]);
        bytes.extend(b"{}");
        (bytes, messages)
    }

    fn open_all(opener: &mut Opener) -> (Vec<Bytes>, bool) {
        let (mut messages, mut ended) = (Vec::new(), false);
        while let Some(envelope) = opener.next().unwrap() {
            match envelope {
                Envelope::Message(message) => messages.push(message),
                Envelope::End(end) => {
                    assert_eq!(end, Ok(()));
                    ended = true;
                }
            }
        }
        (messages, ended)
    }

    #[test]
    fn a_stream_is_the_same_wherever_it_is_split() {
        let (bytes, expected) = stream();
        for at in 0..=bytes.len() {
            let mut opener = Opener::default();
            opener.push(&bytes[..at]);
            let (mut messages, ended_early) = open_all(&mut opener);
            opener.push(&bytes[at..]);
            let (rest, ended) = open_all(&mut opener);
            messages.extend(rest);
            assert!(messages == expected && (ended || ended_early), "split at {at}");
        }
        for size in 1..20 {
            let mut opener = Opener::default();
            let (mut messages, mut ended) = (Vec::new(), false);
            for piece in bytes.chunks(size) {
                opener.push(piece);
                let (more, end) = open_all(&mut opener);
                messages.extend(more);
                ended |= end;
            }
            assert!(messages == expected && ended, "in pieces of {size}");
        }
    }

    #[test]
    fn a_stream_that_is_cut_off_anywhere_has_no_end() {
        let (bytes, expected) = stream();
        for at in 0..bytes.len() {
            let mut opener = Opener::default();
            opener.push(&bytes[..at]);
            let (messages, ended) = open_all(&mut opener);
            assert!(!ended, "cut at {at}");
            assert!(expected.starts_with(&messages), "cut at {at}");
        }
    }

    #[test]
    fn a_bad_end_is_told_with_its_reason() {
        let mut opener = Opener::default();
        let body =
            br#"{"error":{"code":"not_found","message":"no such process","details":[]},"metadata":{}}"#;
        opener.push(&[END, 0, 0, 0, body.len() as u8]);
        opener.push(body);
        let refusal = Refusal { code: Code::NotFound, message: "no such process".to_owned() };
        assert_eq!(opener.next().unwrap(), Some(Envelope::End(Err(refusal))));
    }

    #[test]
    fn what_is_no_envelope_is_refused_at_once() {
        for head in [[COMPRESSED, 0, 0, 0, 0], [0, 0xFF, 0xFF, 0xFF, 0xFF], [END | COMPRESSED, 0, 0, 0, 2]] {
            let mut opener = Opener::default();
            opener.push(&head);
            assert!(matches!(opener.next(), Err(Fault::Nonsense(_))), "{head:?}");
        }
        let mut opener = Opener::default();
        opener.push(&[END, 0, 0, 0, 1, b'x']);
        assert!(matches!(opener.next(), Err(Fault::Nonsense(_))));
    }

    #[test]
    fn noise_is_never_a_panic() {
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        for _ in 0..2000 {
            let mut opener = Opener::default();
            for _ in 0..8 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                opener.push(&state.to_le_bytes());
                // Short lengths are likelier to be envelopes.
                opener.push(&[state as u8 & 2, 0, 0, 0, (state >> 8) as u8 & 7]);
                while let Ok(Some(_)) = opener.next() {}
            }
        }
    }
}
