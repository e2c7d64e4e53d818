//! What is said to envd and what it says: the messages of its services `process` and `filesystem`, for both
//! codecs at once.
//!
//! What protobuf has as a `oneof` is a row of optional fields here: on the wire there is no difference.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prost::{Enumeration, Message};
use serde::{Deserialize, Serialize};

use super::json;

/// A time, since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

impl Timestamp {
    /// As the system has it, if it can.
    pub(super) fn time(self) -> Option<SystemTime> {
        let since = Duration::from_secs(self.seconds.unsigned_abs());
        let whole = match self.seconds {
            ..0 => SystemTime::UNIX_EPOCH.checked_sub(since),
            0.. => SystemTime::UNIX_EPOCH.checked_add(since),
        };
        whole?.checked_add(Duration::from_nanos(u64::try_from(self.nanos).unwrap_or(0)))
    }
}

/// Nothing.
#[derive(Clone, Copy, PartialEq, Message, Serialize, Deserialize)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ProcessConfig {
    #[prost(string, tag = "1")]
    pub(super) cmd: String,
    #[prost(string, repeated, tag = "2")]
    #[serde(deserialize_with = "json::or_default")]
    pub(super) args: Vec<String>,
    #[prost(btree_map = "string, string", tag = "3")]
    #[serde(deserialize_with = "json::or_default")]
    pub(super) envs: BTreeMap<String, String>,
    #[prost(string, optional, tag = "4")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cwd: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PtySize {
    #[prost(uint32, tag = "1")]
    pub(super) cols: u32,
    #[prost(uint32, tag = "2")]
    pub(super) rows: u32,
}

#[derive(Clone, Copy, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Pty {
    #[prost(message, optional, tag = "1")]
    pub(super) size: Option<PtySize>,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StartRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) process: Option<ProcessConfig>,
    #[prost(message, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pty: Option<Pty>,
    #[prost(string, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<String>,
    #[prost(bool, optional, tag = "4")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stdin: Option<bool>,
}

/// A process, by its number or its tag.
#[derive(Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ProcessSelector {
    #[prost(uint32, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    #[prost(string, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<String>,
}

impl ProcessSelector {
    pub(super) fn by_pid(pid: u32) -> Self {
        Self { pid: Some(pid), tag: None }
    }

    pub(super) fn by_tag(tag: &str) -> Self {
        Self { pid: None, tag: Some(tag.to_owned()) }
    }
}

/// The requests that say no more than which process is meant.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ProcessRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) process: Option<ProcessSelector>,
}

/// What `Start` and `Connect` answer, again and again.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ProcessResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) event: Option<ProcessEvent>,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ProcessEvent {
    #[prost(message, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) start: Option<StartEvent>,
    #[prost(message, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<DataEvent>,
    #[prost(message, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<EndEvent>,
    #[prost(message, optional, tag = "4")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) keepalive: Option<Empty>,
}

#[derive(Clone, Copy, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StartEvent {
    #[prost(uint32, tag = "1")]
    #[serde(deserialize_with = "json::number")]
    pub(super) pid: u32,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DataEvent {
    #[prost(bytes = "bytes", optional, tag = "1")]
    #[serde(with = "json::bytes", skip_serializing_if = "Option::is_none")]
    pub(super) stdout: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    #[serde(with = "json::bytes", skip_serializing_if = "Option::is_none")]
    pub(super) stderr: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    #[serde(with = "json::bytes", skip_serializing_if = "Option::is_none")]
    pub(super) pty: Option<Bytes>,
}

#[derive(Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct EndEvent {
    #[prost(sint32, tag = "1")]
    #[serde(alias = "exit_code", deserialize_with = "json::number")]
    pub(super) exit_code: i32,
    #[prost(bool, tag = "2")]
    #[serde(deserialize_with = "json::or_default")]
    pub(super) exited: bool,
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "json::or_default")]
    pub(super) status: String,
    #[prost(string, optional, tag = "4")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ListResponse {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::or_default")]
    pub(super) processes: Vec<ProcessInfo>,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ProcessInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) config: Option<ProcessConfig>,
    #[prost(uint32, tag = "2")]
    #[serde(deserialize_with = "json::number")]
    pub(super) pid: u32,
    #[prost(string, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<String>,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct UpdateRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) process: Option<ProcessSelector>,
    #[prost(message, optional, tag = "2")]
    pub(super) pty: Option<Pty>,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ProcessInput {
    #[prost(bytes = "bytes", optional, tag = "1")]
    #[serde(with = "json::bytes", skip_serializing_if = "Option::is_none")]
    pub(super) stdin: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    #[serde(with = "json::bytes", skip_serializing_if = "Option::is_none")]
    pub(super) pty: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SendInputRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) process: Option<ProcessSelector>,
    #[prost(message, optional, tag = "2")]
    pub(super) input: Option<ProcessInput>,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SendSignalRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) process: Option<ProcessSelector>,
    #[prost(enumeration = "Signal", tag = "2")]
    #[serde(serialize_with = "Signal::serialize")]
    pub(super) signal: i32,
}

/// The signals that envd sends itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum Signal {
    Unspecified = 0,
    Kill = 9,
    Term = 15,
}

impl Signal {
    fn serialize<S: serde::Serializer>(signal: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match Self::try_from(*signal) {
            Ok(Self::Kill) => "SIGNAL_SIGKILL",
            Ok(Self::Term) => "SIGNAL_SIGTERM",
            _ => "SIGNAL_UNSPECIFIED",
        })
    }
}

/// The requests that say no more than a path.
#[derive(Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PathRequest {
    #[prost(string, tag = "1")]
    pub(super) path: String,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct EntryResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) entry: Option<EntryInfo>,
}

#[derive(Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ListDirRequest {
    #[prost(string, tag = "1")]
    pub(super) path: String,
    #[prost(uint32, tag = "2")]
    pub(super) depth: u32,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ListDirResponse {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::or_default")]
    pub(super) entries: Vec<EntryInfo>,
}

/// What is at a path. Of a symbolic link, kind and mode are those of its target, the rest is its own.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct EntryInfo {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "json::or_default")]
    pub(super) name: String,
    #[prost(enumeration = "FileType", tag = "2")]
    #[serde(rename = "type", deserialize_with = "FileType::deserialize")]
    pub(super) kind: i32,
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "json::or_default")]
    pub(super) path: String,
    #[prost(int64, tag = "4")]
    #[serde(deserialize_with = "json::number")]
    pub(super) size: i64,
    /// As `ls -l` has them, but for the letters of what is no regular file.
    #[prost(string, tag = "6")]
    #[serde(deserialize_with = "json::or_default")]
    pub(super) permissions: String,
    #[prost(message, optional, tag = "9")]
    #[serde(alias = "modified_time", with = "json::time", skip_serializing_if = "Option::is_none")]
    pub(super) modified_time: Option<Timestamp>,
    /// Where the link leads to in the end; its own path, if to nowhere.
    #[prost(string, optional, tag = "10")]
    #[serde(alias = "symlink_target", skip_serializing_if = "Option::is_none")]
    pub(super) symlink_target: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum FileType {
    /// A pipe, a socket, a device, or a link that leads nowhere.
    Unspecified = 0,
    File = 1,
    Directory = 2,
    Symlink = 3,
}

impl FileType {
    fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        json::kind(deserializer, |name| match name {
            "FILE_TYPE_FILE" => Some(Self::File),
            "FILE_TYPE_DIRECTORY" => Some(Self::Directory),
            "FILE_TYPE_SYMLINK" => Some(Self::Symlink),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event: ProcessEvent) -> ProcessResponse {
        ProcessResponse { event: Some(event) }
    }

    fn all() -> Vec<ProcessResponse> {
        let data = DataEvent { stdout: Some(Bytes::from_static(b"\0\xff\n")), ..DataEvent::default() };
        let end = EndEvent { exit_code: -1, exited: false, status: "signal: killed".to_owned(), error: None };
        vec![
            event(ProcessEvent { start: Some(StartEvent { pid: 7 }), ..ProcessEvent::default() }),
            event(ProcessEvent { data: Some(data), ..ProcessEvent::default() }),
            event(ProcessEvent { end: Some(end), ..ProcessEvent::default() }),
            event(ProcessEvent { keepalive: Some(Empty {}), ..ProcessEvent::default() }),
        ]
    }

    #[test]
    fn binary_is_as_the_schema_says() {
        let bytes = |response: &ProcessResponse| response.encode_to_vec();
        let [start, data, end, keepalive] = &all()[..] else { panic!("there are four") };
        assert_eq!(bytes(start), b"\x0a\x04\x0a\x02\x08\x07");
        assert_eq!(bytes(data), b"\x0a\x07\x12\x05\x0a\x03\0\xff\n");
        // -1 is written as 1: zigzag.
        assert_eq!(bytes(end), b"\x0a\x14\x1a\x12\x08\x01\x1a\x0esignal: killed");
        assert_eq!(bytes(keepalive), b"\x0a\x02\x22\x00");
    }

    #[test]
    fn both_codecs_say_the_same() {
        for message in all() {
            let binary = ProcessResponse::decode(&message.encode_to_vec()[..]).unwrap();
            let json: ProcessResponse =
                serde_json::from_slice(&serde_json::to_vec(&message).unwrap()).unwrap();
            assert_eq!((&binary, &json), (&message, &message));
        }
    }

    #[test]
    fn json_is_read_in_all_its_spellings() {
        let read = |text: &str| serde_json::from_str::<ProcessResponse>(text).unwrap().event.unwrap();
        let end =
            read(r#"{"event":{"end":{"exitCode":"3","exited":true,"status":"exit status 3","new":1}}}"#);
        assert_eq!(end.end.unwrap().exit_code, 3);
        assert_eq!(read(r#"{"event":{"end":{"exit_code":4}}}"#).end.unwrap().exit_code, 4);
        // What is zero is left out, and what is null is not there.
        assert_eq!(read(r#"{"event":{"end":{"exited":true,"error":null}}}"#).end.unwrap().exit_code, 0);
        assert!(read(r#"{"event":{"keepalive":{}}}"#).keepalive.is_some());
        for (base64, expected) in
            [("_-8", &b"\xff\xef"[..]), ("/+8=", b"\xff\xef"), ("/+8", b"\xff\xef"), ("", b"")]
        {
            let data = read(&format!(r#"{{"event":{{"data":{{"stdout":"{base64}"}}}}}}"#)).data.unwrap();
            assert_eq!(data.stdout.unwrap(), expected, "{base64}");
        }
        let entry = |text: &str| serde_json::from_str::<EntryInfo>(text).unwrap();
        let file = entry(
            r#"{"name":"a","type":"FILE_TYPE_FILE","size":"11","modifiedTime":"1969-12-31T23:59:58.500Z","owner":"u"}"#,
        );
        assert_eq!((file.size, file.kind), (11, FileType::File as i32));
        let time = file.modified_time.unwrap();
        assert_eq!((time.seconds, time.nanos), (-2, 500_000_000));
        assert_eq!(time.time(), Some(SystemTime::UNIX_EPOCH - Duration::from_millis(1500)));
        let other = entry(r#"{"type":2,"size":11,"symlink_target":"/x"}"#);
        assert_eq!((other.kind, other.symlink_target.as_deref()), (FileType::Directory as i32, Some("/x")));
        assert_eq!(entry(r#"{"type":"FILE_TYPE_NEW"}"#).kind, 0);
        for wrong in [r#"{"event":{"start":{"pid":-1}}}"#, r#"{"event":{"data":{"stdout":"*"}}}"#, "{"] {
            assert!(serde_json::from_str::<ProcessResponse>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_cut_off_anywhere_is_an_error_or_less() {
        for message in all() {
            let binary = message.encode_to_vec();
            for at in 0..binary.len() {
                // A message may end wherever a field does; it is never something else.
                let cut = ProcessResponse::decode(&binary[..at]);
                assert!(cut.is_err() || cut == Ok(ProcessResponse::default()), "{at} of {binary:?}");
            }
            let json = serde_json::to_vec(&message).unwrap();
            for at in 0..json.len() {
                assert!(serde_json::from_slice::<ProcessResponse>(&json[..at]).is_err(), "{at}");
            }
        }
    }

    #[test]
    fn requests_are_what_the_official_client_sends() {
        let config = ProcessConfig { cmd: "/bin/bash".to_owned(), ..ProcessConfig::default() };
        let start = StartRequest { process: Some(config), stdin: Some(false), pty: None, tag: None };
        let json = serde_json::to_string(&start).unwrap();
        assert_eq!(json, r#"{"process":{"cmd":"/bin/bash","args":[],"envs":{}},"stdin":false}"#);
        let process = Some(ProcessSelector::by_pid(7));
        let signal = SendSignalRequest { process, signal: Signal::Kill.into() };
        let json = serde_json::to_string(&signal).unwrap();
        assert_eq!(json, r#"{"process":{"pid":7},"signal":"SIGNAL_SIGKILL"}"#);
    }
}
