//! Messages of a daemon that may say anything.

use std::fmt::Debug;

use bytes::Bytes;

use super::links;
use super::messages::{EntryResponse, ListDirResponse, ListResponse, ProcessResponse, Timestamp};
use super::version::Version;
use crate::transport::connect::Message;

/// What envd answers, in both codecs: what can be read can be written, and reads the same again.
pub(crate) fn messages(bytes: &[u8]) {
    same_again::<ProcessResponse>(bytes);
    same_again::<ListResponse>(bytes);
    same_again::<ListDirResponse>(bytes);
    same_again::<EntryResponse>(bytes);
    if let Ok(time) = <Timestamp as prost::Message>::decode(bytes) {
        let _ = time.time();
    }
}

fn same_again<M: Message + Debug + PartialEq>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        assert_eq!(M::decode(&message.encode_to_vec()[..]).as_ref(), Ok(&message));
    }
    if let Ok(message) = serde_json::from_slice::<M>(bytes) {
        let text = serde_json::to_vec(&message).expect("it was read");
        assert_eq!(serde_json::from_slice::<M>(&text).expect("it was written"), message);
    }
}

/// The name of a version, and what commands in the sandbox tell of files.
pub(crate) fn told(bytes: &[u8]) {
    let _ = Version::read(&String::from_utf8_lossy(bytes));
    let _ = links::read(&Bytes::copy_from_slice(bytes));
}
