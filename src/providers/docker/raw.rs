//! The engine's frames around what a program writes: which of its two streams, and how many bytes. (The Engine API
//! calls it the multiplexed raw stream.)

/// A frame's head: the stream, three zeros, and a length with the highest byte first.
const HEAD: usize = 8;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

/// What is kept of standard error.
const COMPLAINT: usize = 1024;

/// What came is no such stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Frames as they come, in whatever pieces.
#[derive(Debug, Default)]
pub(super) struct Raw {
    head: Vec<u8>,
    /// The stream of the frame that is being read, and what is left of it.
    frame: (u8, usize),
    complaint: Vec<u8>,
}

impl Raw {
    /// Takes what has come, and gives what is of standard output.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut give: impl FnMut(&[u8])) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            if self.frame.1 == 0 {
                let (head, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
                self.head.extend_from_slice(head);
                bytes = rest;
                if let Ok([stream, _, _, _, length @ ..]) = <[u8; HEAD]>::try_from(&self.head[..]) {
                    if !matches!(stream, STDOUT | STDERR) {
                        return Err(Malformed);
                    }
                    self.frame = (stream, u32::from_be_bytes(length) as usize);
                    self.head.clear();
                }
                continue;
            }
            let (content, rest) = bytes.split_at(bytes.len().min(self.frame.1));
            self.frame.1 -= content.len();
            bytes = rest;
            if self.frame.0 == STDOUT {
                give(content);
            } else {
                let room = COMPLAINT - self.complaint.len();
                self.complaint.extend_from_slice(&content[..content.len().min(room)]);
            }
        }
        Ok(())
    }

    /// What was written to standard error.
    pub(super) fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.complaint).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, content: &[u8]) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend_from_slice(&(content.len() as u32).to_be_bytes());
        frame.extend_from_slice(content);
        frame
    }

    #[test]
    fn streams_are_told_apart_in_whatever_pieces_they_come() {
        let bytes = [frame(1, b"one"), frame(2, b"wrong"), frame(1, b""), frame(1, b"two")].concat();
        for piece in 1..bytes.len() {
            let (mut raw, mut output) = (Raw::default(), Vec::new());
            for piece in bytes.chunks(piece) {
                raw.feed(piece, |bytes| output.extend_from_slice(bytes)).expect("they are whole");
            }
            assert_eq!((&output[..], &raw.complaint()[..]), (&b"onetwo"[..], "wrong"));
        }
    }

    #[test]
    fn what_is_no_such_stream_is_refused() {
        assert_eq!(Raw::default().feed(&[0; 8], |_| {}), Err(Malformed));
        assert_eq!(Raw::default().feed(b"HTTP/1.1 200", |_| {}), Err(Malformed));
        let mut raw = Raw::default();
        raw.feed(&frame(2, &[7; 5000]), |_| panic!("it is not output")).expect("it is whole");
        assert_eq!(raw.complaint().len(), COMPLAINT);
    }
}
