//! The messages of `process.Process` and `filesystem.Filesystem`, in both codecs.
//!
//! A field of a `oneof` is an optional field on the wire and in JSON alike, so that is what it is here.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::json::{base64, event_type, file_type, is_default, number, signal, time};

/// Makes messages: what JSON leaves out is what is zero.
macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field:meta])* $member:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
            #[serde(default, rename_all = "camelCase")]
            pub struct $name {
                $(
                    $(#[$field])*
                    #[serde(skip_serializing_if = "is_default")]
                    pub $member: $type,
                )*
            }
        )*
    };
}

messages! {
    /// The size of a terminal.
    Size {
        #[prost(uint32, tag = "1")]
        cols: u32,
        #[prost(uint32, tag = "2")]
        rows: u32,
    }
    /// A terminal.
    Pty {
        #[prost(message, optional, tag = "1")]
        size: Option<Size>,
    }
    /// What is run.
    ProcessConfig {
        #[prost(string, tag = "1")]
        cmd: String,
        #[prost(string, repeated, tag = "2")]
        args: Vec<String>,
        #[prost(map = "string, string", tag = "3")]
        envs: HashMap<String, String>,
        #[prost(string, optional, tag = "4")]
        cwd: Option<String>,
    }
    /// A running process.
    ProcessInfo {
        #[prost(message, optional, tag = "1")]
        config: Option<ProcessConfig>,
        #[prost(uint32, tag = "2")]
        pid: u32,
        #[prost(string, optional, tag = "3")]
        tag: Option<String>,
    }
    /// An answer without content, and a question without one.
    Empty {}
    /// The running processes.
    ListResponse {
        #[prost(message, repeated, tag = "1")]
        processes: Vec<ProcessInfo>,
    }
    /// Starts a process.
    StartRequest {
        #[prost(message, optional, tag = "1")]
        process: Option<ProcessConfig>,
        #[prost(message, optional, tag = "2")]
        pty: Option<Pty>,
        #[prost(string, optional, tag = "3")]
        tag: Option<String>,
        #[prost(bool, optional, tag = "4")]
        stdin: Option<bool>,
    }
    /// Names a process, one way or the other.
    ProcessSelector {
        #[prost(uint32, optional, tag = "1")]
        pid: Option<u32>,
        #[prost(string, optional, tag = "2")]
        tag: Option<String>,
    }
    /// Asks for what a process does from now on; and closes its standard input.
    Selected {
        #[prost(message, optional, tag = "1")]
        process: Option<ProcessSelector>,
    }
    /// Changes the size of a terminal.
    UpdateRequest {
        #[prost(message, optional, tag = "1")]
        process: Option<ProcessSelector>,
        #[prost(message, optional, tag = "2")]
        pty: Option<Pty>,
    }
    /// It has started.
    StartEvent {
        #[prost(uint32, tag = "1")]
        pid: u32,
    }
    /// It has written something.
    DataEvent {
        #[prost(bytes = "bytes", optional, tag = "1")]
        #[serde(with = "base64")]
        stdout: Option<Bytes>,
        #[prost(bytes = "bytes", optional, tag = "2")]
        #[serde(with = "base64")]
        stderr: Option<Bytes>,
        #[prost(bytes = "bytes", optional, tag = "3")]
        #[serde(with = "base64")]
        pty: Option<Bytes>,
    }
    /// It has ended.
    EndEvent {
        #[prost(sint32, tag = "1")]
        exit_code: i32,
        #[prost(bool, tag = "2")]
        exited: bool,
        #[prost(string, tag = "3")]
        status: String,
        #[prost(string, optional, tag = "4")]
        error: Option<String>,
    }
    /// What a process does.
    ProcessEvent {
        #[prost(message, optional, tag = "1")]
        start: Option<StartEvent>,
        #[prost(message, optional, tag = "2")]
        data: Option<DataEvent>,
        #[prost(message, optional, tag = "3")]
        end: Option<EndEvent>,
        #[prost(message, optional, tag = "4")]
        keepalive: Option<Empty>,
    }
    /// The answer of `Start` and `Connect`.
    ProcessResponse {
        #[prost(message, optional, tag = "1")]
        event: Option<ProcessEvent>,
    }
    /// Something to read for a process.
    ProcessInput {
        #[prost(bytes = "bytes", optional, tag = "1")]
        #[serde(with = "base64")]
        stdin: Option<Bytes>,
        #[prost(bytes = "bytes", optional, tag = "2")]
        #[serde(with = "base64")]
        pty: Option<Bytes>,
    }
    /// Gives a process something to read.
    SendInputRequest {
        #[prost(message, optional, tag = "1")]
        process: Option<ProcessSelector>,
        #[prost(message, optional, tag = "2")]
        input: Option<ProcessInput>,
    }
    /// The input of a stream of inputs.
    StreamedInput {
        #[prost(message, optional, tag = "2")]
        input: Option<ProcessInput>,
    }
    /// One message of a stream of inputs.
    StreamInputRequest {
        #[prost(message, optional, tag = "1")]
        start: Option<Selected>,
        #[prost(message, optional, tag = "2")]
        data: Option<StreamedInput>,
        #[prost(message, optional, tag = "3")]
        keepalive: Option<Empty>,
    }
    /// Sends a signal.
    SendSignalRequest {
        #[prost(message, optional, tag = "1")]
        process: Option<ProcessSelector>,
        #[prost(int32, tag = "2")]
        #[serde(with = "signal")]
        signal: i32,
    }
    /// Names a file or a directory.
    PathRequest {
        #[prost(string, tag = "1")]
        path: String,
    }
    /// Gives a file another path.
    MoveRequest {
        #[prost(string, tag = "1")]
        source: String,
        #[prost(string, tag = "2")]
        destination: String,
    }
    /// Lists a directory.
    ListDirRequest {
        #[prost(string, tag = "1")]
        path: String,
        #[prost(uint32, tag = "2")]
        depth: u32,
    }
    /// A moment.
    Moment {
        #[prost(int64, tag = "1")]
        seconds: i64,
        #[prost(int32, tag = "2")]
        nanos: i32,
    }
    /// What is at a path.
    EntryInfo {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(int32, tag = "2")]
        #[serde(rename = "type", with = "file_type")]
        kind: i32,
        #[prost(string, tag = "3")]
        path: String,
        #[prost(int64, tag = "4")]
        #[serde(with = "number")]
        size: i64,
        #[prost(uint32, tag = "5")]
        mode: u32,
        #[prost(string, tag = "6")]
        permissions: String,
        #[prost(string, tag = "7")]
        owner: String,
        #[prost(string, tag = "8")]
        group: String,
        #[prost(message, optional, tag = "9")]
        #[serde(with = "time")]
        modified_time: Option<Moment>,
        #[prost(string, optional, tag = "10")]
        symlink_target: Option<String>,
    }
    /// What is at a path now.
    EntryResponse {
        #[prost(message, optional, tag = "1")]
        entry: Option<EntryInfo>,
    }
    /// What is in a directory.
    ListDirResponse {
        #[prost(message, repeated, tag = "1")]
        entries: Vec<EntryInfo>,
    }
    /// Watches a directory.
    WatchRequest {
        #[prost(string, tag = "1")]
        path: String,
        #[prost(bool, tag = "2")]
        recursive: bool,
        #[prost(bool, tag = "3")]
        include_entry: bool,
        #[prost(bool, tag = "4")]
        allow_network_mounts: bool,
    }
    /// Something has happened in a watched directory.
    FilesystemEvent {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(int32, tag = "2")]
        #[serde(rename = "type", with = "event_type")]
        kind: i32,
        #[prost(message, optional, tag = "3")]
        entry: Option<EntryInfo>,
    }
    /// The answer of `WatchDir`.
    WatchDirResponse {
        #[prost(message, optional, tag = "1")]
        start: Option<Empty>,
        #[prost(message, optional, tag = "2")]
        filesystem: Option<FilesystemEvent>,
        #[prost(message, optional, tag = "3")]
        keepalive: Option<Empty>,
    }
    /// Names a watcher.
    Watcher {
        #[prost(string, tag = "1")]
        watcher_id: String,
    }
    /// What a watcher has seen since it was asked last.
    WatcherEvents {
        #[prost(message, repeated, tag = "1")]
        events: Vec<FilesystemEvent>,
    }
}
