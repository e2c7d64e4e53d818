//! Messages on a stream of bytes: each behind its length, as `u32`.
//!
//! Nothing here believes what it reads: a length beyond what was agreed, or bytes that are not exactly one message,
//! are the end of the connection.

use crate::protocol::{Blob, Order, Report, Wire, decode};

/// The longest message of a relay: a piece of a stream, or an answer with a name and a link.
pub const REPORT: usize = 128 * 1024;

/// The longest message of the core: a request with its code, its script and its environment.
pub const ORDER: usize = 48 << 20;

/// Bytes before a message.
const HEAD: usize = 4;

/// What came is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Appends a message with its length.
pub fn put<T: Wire>(out: &mut Vec<u8>, message: &T) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    message.put(out);
    let length = (out.len() - start - HEAD) as u32;
    out[start..start + HEAD].copy_from_slice(&length.to_le_bytes());
}

/// Appends the message [`Report::Read`] for these bytes, which are copied once.
pub fn put_read(out: &mut Vec<u8>, stream: u32, bytes: &[u8]) {
    let start = out.len();
    put(out, &Report::Read { stream, bytes: Blob::default() });
    lengthen(out, start, bytes);
}

/// Appends the message [`Order::Feed`] for these bytes, likewise.
pub fn put_feed(out: &mut Vec<u8>, stream: u32, bytes: &[u8]) {
    let start = out.len();
    put(out, &Order::Feed { stream, bytes: Blob::default() });
    lengthen(out, start, bytes);
}

/// Gives the message at `start`, whose last field is an empty blob, this content.
fn lengthen(out: &mut Vec<u8>, start: usize, bytes: &[u8]) {
    let end = out.len();
    out.extend_from_slice(bytes);
    let length = (out.len() - start - HEAD) as u32;
    out[start..start + HEAD].copy_from_slice(&length.to_le_bytes());
    out[end - 4..end].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
}

/// Messages as they come, in whatever pieces.
#[derive(Debug)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Where the next message begins.
    at: usize,
    longest: usize,
}

impl Frames {
    /// None yet; none may be longer than this.
    pub fn new(longest: usize) -> Self {
        Self { bytes: Vec::new(), at: 0, longest }
    }

    /// Takes what has come.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, if it is there as a whole.
    pub fn take<T: Wire>(&mut self) -> Result<Option<T>, Malformed> {
        let rest = &self.bytes[self.at..];
        let Some((head, rest)) = rest.split_first_chunk::<HEAD>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length > self.longest {
            return Err(Malformed);
        }
        let Some(message) = rest.get(..length) else { return Ok(None) };
        let message = decode(message).ok_or(Malformed)?;
        self.at += HEAD + length;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Reply;

    fn reports() -> Vec<Report> {
        vec![
            Report::Told { reply: Reply::Started { id: 7, pid: 8 }, streams: vec![1, 2] },
            Report::Read { stream: 1, bytes: Blob(vec![0, 255, 10]) },
            Report::Taken { stream: 2, bytes: 65_536 },
            Report::End { stream: 1, errno: 32 },
        ]
    }

    fn written(reports: &[Report]) -> Vec<u8> {
        let mut out = Vec::new();
        reports.iter().for_each(|report| put(&mut out, report));
        out
    }

    #[test]
    fn messages_come_back_in_whatever_pieces_they_come() {
        let bytes = written(&reports());
        for piece in [1, 2, 3, 7, 1000] {
            let (mut frames, mut read) = (Frames::new(REPORT), Vec::new());
            for piece in bytes.chunks(piece) {
                frames.feed(piece);
                while let Some(report) = frames.take::<Report>().expect("they are whole") {
                    read.push(report);
                }
            }
            assert_eq!(read, reports(), "{piece}");
        }
    }

    #[test]
    fn bytes_of_a_stream_are_the_same_message_without_a_copy() {
        let mut quick = Vec::new();
        put_read(&mut quick, 1, &[0, 255, 10]);
        assert_eq!(quick, written(&reports()[1..2]));
        let (mut quick, mut slow) = (Vec::new(), Vec::new());
        put_feed(&mut quick, 9, b"abc");
        put(&mut slow, &Order::Feed { stream: 9, bytes: Blob(b"abc".to_vec()) });
        assert_eq!(quick, slow);
    }

    #[test]
    fn what_is_too_long_or_no_message_is_refused_at_once() {
        for bytes in [&[1, 0, 2, 0][..], &[255, 255, 255, 255], &[1, 0, 0, 0, 250], &[0, 0, 0, 0]] {
            let mut frames = Frames::new(REPORT);
            frames.feed(bytes);
            assert_eq!(frames.take::<Report>(), Err(Malformed), "{bytes:?}");
        }
        let mut trailing = vec![6, 0, 0, 0, 104, 1, 0, 0, 0, 9];
        let mut frames = Frames::new(REPORT);
        frames.feed(&trailing);
        assert_eq!(frames.take::<Report>(), Err(Malformed));
        trailing[0] = 5;
        let mut frames = Frames::new(REPORT);
        frames.feed(&trailing);
        assert_eq!(frames.take(), Ok(Some(Report::Connected { stream: 1 })));
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        let mut random = fastrand::Rng::with_seed(1);
        let seed = written(&reports());
        for _ in 0..100_000 {
            let mut bytes = seed.clone();
            for _ in 0..=random.u8(..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            let (mut reports, mut orders) = (Frames::new(REPORT), Frames::new(ORDER));
            for piece in bytes.chunks(random.usize(1..=40)) {
                reports.feed(piece);
                orders.feed(piece);
                while let Ok(Some(_)) = reports.take::<Report>() {}
                while let Ok(Some(_)) = orders.take::<Order>() {}
            }
        }
    }
}
