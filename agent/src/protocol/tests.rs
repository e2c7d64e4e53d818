//! Messages come back as they went, and whatever else comes is none.

use super::*;

fn command() -> Request {
    Request::Spawn {
        id: 7,
        command: Command {
            argv: vec!["echo".into(), "ü".into()],
            env: BTreeMap::from([("A".into(), "b=c".into())]),
            cwd: "/".into(),
            stdin: true,
            terminal: Some((80, 24)),
            script: Some(Blob(vec![0, 255])),
        },
    }
}

#[test]
fn a_message_comes_back_as_it_was() {
    let bytes = encode(&command());
    assert_eq!(decode::<Request>(&bytes), Some(command()));
}

#[test]
fn every_prefix_and_every_suffix_is_refused() {
    let mut bytes = encode(&command());
    for end in 0..bytes.len() {
        assert_eq!(decode::<Request>(&bytes[..end]), None);
    }
    bytes.push(0);
    assert_eq!(decode::<Request>(&bytes), None);
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    assert_eq!(decode::<Vec<String>>(&[255, 255, 255, 255]), None);
    assert_eq!(decode::<Blob>(&[255, 255, 255, 127, 1]), None);
}

#[test]
fn any_bytes_are_read_without_panic() {
    let mut random = fastrand::Rng::with_seed(1);
    let seed = encode(&command());
    for _ in 0..200_000 {
        let mut bytes = seed.clone();
        for _ in 0..=random.u8(..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        let _ = decode::<Request>(&bytes);
        let _ = decode::<Reply>(&bytes);
    }
}
