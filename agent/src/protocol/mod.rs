//! The messages between the core, the broker and the agent of each sandbox.
//!
//! One datagram of a `SOCK_SEQPACKET` socket is one message; descriptors travel beside it. Numbers are
//! little endian, texts and lists carry their length in front. Both ends come from one build, so there is
//! no version; but the core reads what an agent sends as if an attacker had written it: [`decode`] never
//! panics, never allocates more than the message is long, and refuses what is left over.

use std::collections::BTreeMap;

/// The largest message that goes into one datagram. The kernel's default buffer takes 192 KiB; a larger
/// message travels in a sealed memfd (see `channel`).
pub const DATAGRAM: usize = 64 * 1024;

/// The file descriptor on which a command finds its script, if it has one.
pub const SCRIPT_FD: i32 = 3;

/// Terminals that a sandbox may have open at once, those of its own programs included.
pub const TERMINALS: u32 = 64;

/// Bytes of a stream that may be on their way, each direction for itself, before the first are acknowledged.
pub const WINDOW: usize = 256 * 1024;

/// Bytes of a stream in one message.
pub const PIECE: usize = 64 * 1024;

/// How every step begins that is about something [`Lent`]; the option and its path on the host follow.
pub const LENDING: &str = "lend ";

/// The step at which a sandbox fails whose snapshot is gone.
pub const SNAPSHOT: &str = "find its snapshot";

/// The most snapshots that a sandbox can stand on.
pub const LAYERS: usize = 16;

/// The most that may be lent to one sandbox: descriptors of one message, and one of them is the root's.
pub const MOUNTS: usize = 31;

/// A value with a form on the wire.
pub trait Wire: Sized {
    /// Appends the value to `out`.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes a value from the front of `bytes`; `None` if there is none.
    fn take(bytes: &mut &[u8]) -> Option<Self>;
}

/// The bytes of a message.
pub fn encode<T: Wire>(message: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    message.put(&mut out);
    out
}

/// Reads a whole message; `None` if the bytes are not exactly one.
pub fn decode<T: Wire>(mut bytes: &[u8]) -> Option<T> {
    let message = T::take(&mut bytes)?;
    bytes.is_empty().then_some(message)
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Wire for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                let (head, tail) = bytes.split_first_chunk()?;
                *bytes = tail;
                Some(Self::from_le_bytes(*head))
            }
        }
    )*};
}
numbers!(u8, u16, u32, i32, u64, i64);

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        match u8::take(bytes)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

/// Bytes that are no text: file content, names that need not be UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl Wire for Blob {
    fn put(&self, out: &mut Vec<u8>) {
        (self.0.len() as u32).put(out);
        out.extend_from_slice(&self.0);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let length = u32::take(bytes)? as usize;
        let (head, tail) = bytes.split_at_checked(length)?;
        *bytes = tail;
        Some(Self(head.to_vec()))
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        out.extend_from_slice(self.as_bytes());
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Self::from_utf8(Blob::take(bytes)?.0).ok()
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some(if bool::take(bytes)? { Some(T::take(bytes)?) } else { None })
    }
}

impl<T: Wire> Wire for Box<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        T::take(bytes).map(Self::new)
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        self.iter().for_each(|item| item.put(out));
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        // The length is not believed: no item is shorter than a byte, so the loop ends with the bytes.
        let length = u32::take(bytes)?;
        (0..length).map(|_| if bytes.is_empty() { None } else { T::take(bytes) }).collect()
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::take(bytes)?, B::take(bytes)?))
    }
}

impl Wire for BTreeMap<String, String> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let length = u32::take(bytes)?;
        (0..length).map(|_| Some((String::take(bytes)?, String::take(bytes)?))).collect()
    }
}

/// Declares structs and enums of named fields, with their form on the wire: fields in order, an enum's
/// variant as one byte before them.
macro_rules! wire {
    () => {};
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$doc:meta])* pub $field:ident: $type:ty,)*
    } $($rest:tt)*) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[$doc])* pub $field: $type,)* }
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$field.put(out);)*
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: Wire::take(bytes)?,)* })
            }
        }
        wire! { $($rest)* }
    };
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$doc:meta])* $variant:ident = $tag:literal $({ $($(#[$fdoc:meta])* $field:ident: $type:ty,)* })?,)*
    } $($rest:tt)*) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name { $($(#[$doc])* $variant $({ $($(#[$fdoc])* $field: $type,)* })?,)* }
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $({ $($field,)* })? => { out.push($tag); $($($field.put(out);)*)? })*
                }
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                match u8::take(bytes)? {
                    $($tag => Some(Self::$variant $({ $($field: Wire::take(bytes)?,)* })?),)*
                    _ => None,
                }
            }
        }
        wire! { $($rest)* }
    };
}

wire! {
    /// What a sandbox is to be: plain data, decided by the core, applied by the agent.
    pub struct Plan {
        /// Host directories that are seen read-only, at their own path unless `target` differs.
        pub host: Vec<Bind>,
        /// Symbolic links to make: (path, target).
        pub links: Vec<(String, String)>,
        /// Small executable files to make: (path, content).
        pub programs: Vec<(String, String)>,
        /// Directories whose content is not to be seen: the sandbox has empty ones of its own there.
        pub hidden: Vec<String>,
        /// Hosts that are known by name, beside the sandbox itself: (address, name).
        pub names: Vec<(String, String)>,
        /// Bytes that all files may hold together.
        pub disk: u64,
        /// Files that may exist at once.
        pub inodes: u64,
        /// Bytes of memory, of the sandbox where there are cgroups, else of each process.
        pub memory: u64,
        /// Processes and threads at once.
        pub processes: u32,
        /// Thousandths of a processor; 0 is as many as there are.
        pub cpus: u32,
        /// Open files of each process.
        pub open_files: u64,
        /// How many like this one are to be made in advance for the next who ask.
        pub spares: u8,
        /// A folder of the host's that takes the place of the host's programs: the root, below a layer.
        pub rootfs: Option<Box<Lent>>,
        /// What the user lends, those first that others are mounted in.
        pub mounts: Vec<Lent>,
        /// Interpreters that are up before anybody asks for them.
        pub warm: Vec<Interpreter>,
        /// What was kept of others and is below what it writes, the uppermost first.
        pub layers: Vec<u32>,
    }

    /// An interpreter that is to be up before there is code for it.
    pub struct Interpreter {
        /// What it runs.
        pub language: Language,
        /// What it is called by, in what it runs too: `python3`.
        pub program: String,
        /// What it starts with. Secrets have no place here: every command can read it.
        pub env: BTreeMap<String, String>,
        /// Modules that it has imported.
        pub preload: Vec<String>,
        /// Whether it stays where nobody has asked for a while.
        pub stays: bool,
    }

    /// What interpreters that wait for code are of.
    pub enum Language {
        /// Python 3.
        Python = 80,
        /// JavaScript, run by Node.js.
        Node = 81,
    }

    /// A directory or a file of the host that its user lends to a sandbox.
    pub struct Lent {
        /// Where it is on the host, without any link on the way.
        pub source: String,
        /// Where the sandbox sees it.
        pub target: String,
        /// What may be done with it.
        pub access: Access,
        /// A directory, or else a regular file.
        pub directory: bool,
        /// What it was when it was decided to lend it (`st_dev`, `st_ino`): what has taken its place since is not lent.
        pub identity: (u64, u64),
        /// Whose it is on the host. In the sandbox it is the user's.
        pub owner: (u32, u32),
    }

    /// What a sandbox may do with what it is lent.
    pub enum Access {
        /// Read it.
        Read = 0,
        /// Read and change it.
        Write = 1,
        /// Read it, and change it for itself.
        Copy = 2,
    }

    /// A host directory inside the sandbox.
    pub struct Bind {
        /// Where it is on the host.
        pub source: String,
        /// Where the sandbox sees it.
        pub target: String,
        /// Whether the sandbox may write there, into a layer of its own.
        pub overlay: bool,
    }

    /// Core → broker.
    pub enum BrokerRequest {
        /// Makes a sandbox.
        Create = 0 { id: u32, plan: Box<Plan>, },
        /// Ends a sandbox. Answered by `Gone` when its last process is.
        Destroy = 1 { id: u32, },
        /// A sandbox that was made in advance is sandbox `id` from now on. Answered only if it is not there any more: by
        /// `Gone`.
        Take = 2 { id: u32, spare: u32, },
        /// Ends a sandbox that was made in advance.
        Return = 3 { spare: u32, },
        /// Asks for the files in which the kernel counts what a sandbox uses. Answered by `Meters`.
        Meters = 50 { id: u32, },
        /// Keeps what a sandbox has written as a layer of this number, if it is no more than so many bytes and files.
        /// Comes with the file system that holds it. Answered by `Kept` or `Lost`.
        Keep = 70 { id: u32, layer: u32, bytes: u64, files: u64, },
        /// Lets go of a layer, complete or not.
        Forget = 71 { layer: u32, },
    }

    /// Broker → core.
    pub enum BrokerReply {
        /// The broker can make sandboxes on this machine.
        Ready = 0,
        /// It cannot; it ends after this message.
        Unfit = 1 { failure: Failure, },
        /// The processes of the sandbox exist. Comes with the socket that leads to its agent, which tells there whether
        /// the rest came about.
        Created = 2 { id: u32, },
        /// The sandbox does not exist and nothing of it is left.
        Refused = 3 { id: u32, failure: Failure, },
        /// The sandbox is gone, whoever ended it.
        Gone = 4 { id: u32, },
        /// A sandbox made in advance, like the sandbox `like`. Comes with a socket, as `Created` does.
        Spare = 5 { spare: u32, like: u32, },
        /// None that was made in advance was taken for a while: they are to be returned.
        Unused = 6,
        /// Files of the sandbox's cgroups come with the message, open for reading: memory in use, its statistics,
        /// processes, and, if there is a fourth, time of the processors. None where there are no cgroups.
        Meters = 50 { id: u32, },
        /// The sandbox is gone: the kernel killed its process 1, because memory had run out.
        Starved = 51 { id: u32, },
        /// A layer is complete, and takes so many bytes of memory.
        Kept = 70 { layer: u32, bytes: u64, },
        /// A layer did not come about.
        Lost = 71 { layer: u32, failure: Failure, },
    }

    /// A step that the kernel refused.
    pub struct Failure {
        /// The step, in words: `mount /proc`.
        pub step: String,
        /// What the kernel said (`errno`).
        pub errno: i32,
    }

    /// Core → agent. Every request has an `id` of the core's choosing; every reply carries it.
    pub enum Request {
        /// Starts a command. Answered by `Started` with its standard input (if asked for), output and
        /// error, or with the terminal that is all three; later by `Exited`.
        Spawn = 0 { id: u32, command: Command, },
        /// Sends a signal to the command that request `target` started.
        Signal = 1 { target: u32, signal: i32, },
        /// Ends a command and all that it started.
        Kill = 2 { target: u32, },
        /// Opens a regular file for reading. Answered by `Opened` with the file, or by `Started` with a
        /// pipe where the file is not on the sandbox's own file system.
        Read = 3 { id: u32, path: String, },
        /// Replaces a file by this content.
        Write = 4 { id: u32, path: String, content: Blob, },
        /// Opens a new file that takes the place of `path` at `Commit`. Answered by `Opened`.
        Replace = 5 { id: u32, path: String, },
        /// Puts the file of request `target` into its place.
        Commit = 6 { id: u32, target: u32, },
        /// Forgets the file of request `target`.
        Discard = 7 { target: u32, },
        /// Makes a directory and its parents.
        MakeDirectory = 8 { id: u32, path: String, },
        /// Answered by `Found`.
        Stat = 9 { id: u32, path: String, },
        /// Answered by `Started` with a pipe of [`Entry`]s, each behind its length as `u32`.
        List = 10 { id: u32, path: String, },
        /// Removes a file (`Done`) or a tree (`Started`, then `Exited`).
        Remove = 11 { id: u32, path: String, },
        /// Makes a TCP socket, connected to nothing. Answered by `Socket`.
        Socket = 12 { id: u32, v6: bool, },
        /// Looks whether something listens on a port. Answered by `Listening`.
        Listens = 13 { id: u32, port: u16, },
        /// Sends `SIGHUP` to the session of the command that request `target` started. Answered by `Done` when
        /// nothing that came of the command is left.
        HangUp = 16 { id: u32, target: u32, },
        /// Gives what is at `from` the path `to` (`Done`), or, where the kernel cannot, copies and removes it
        /// (as `Copy`).
        Rename = 20 { id: u32, from: String, to: String, },
        /// Copies a file or a tree. Answered by `Started` with a pipe of a [`Halt`] if it fails, then `Exited`.
        Copy = 21 { id: u32, from: String, to: String, },
        /// Looks at what the sandbox uses; at its processes only if asked to. Answered by `Measured`.
        Measure = 50 { id: u32, processes: bool, },
        /// As `Spawn`, for code: what runs may be an interpreter that was up before.
        Run = 60 { id: u32, command: Command, interpreter: Interpreter, },
        /// Hands out the file system that holds everything the sandbox has written. Answered by `Written`.
        Written = 70 { id: u32, },
        /// Asks how long the sandbox lives, where its own process 1 ends it. Answered by `Life`.
        Life = 90 { id: u32, },
        /// Lets it live longer by this many milliseconds. Answered by `Life`.
        Extend = 91 { id: u32, by: u64, },
    }

    /// Agent → core.
    pub enum Reply {
        /// The sandbox is complete. The first message.
        Ready = 0 { bash: bool, layers: Vec<String>, cgroup: bool, },
        /// The sandbox could not be made. The only message.
        Broken = 1 { failure: Failure, },
        /// A command or a job runs; its descriptors come with the message.
        Started = 2 { id: u32, pid: u32, },
        /// It ended: an exit code, or the signal that ended it.
        Exited = 3 { id: u32, code: i32, signal: i32, },
        /// A file; its descriptor comes with the message.
        Opened = 4 { id: u32, size: u64, },
        /// What is at a path.
        Found = 5 { id: u32, entry: Entry, },
        /// It is done.
        Done = 6 { id: u32, },
        /// It was refused; nothing has changed.
        Failed = 7 { id: u32, trouble: Trouble, errno: i32, },
        /// A socket; its descriptor comes with the message.
        Socket = 12 { id: u32, },
        /// Whether something listens.
        Listening = 13 { id: u32, listens: bool, },
        /// What the sandbox uses.
        Measured = 50 { id: u32, usage: Usage, },
        /// The command whose `Exited` comes next was killed because memory had run out, or ended as what it waited
        /// for did, which was.
        Starved = 51 { id: u32, },
        /// The file system that holds what the sandbox has written; a descriptor of it comes with the message.
        Written = 70 { id: u32, },
        /// The first message of a process 1 that serves several cores: all numbers of this one's requests have this
        /// as their highest byte. With the name and the home of
        /// its user.
        Welcome = 90 { number: u8, bash: bool, user: String, home: String, },
        /// Milliseconds of life granted in all, and left, 0 and 0 being without end; and from 1970 to its beginning.
        Life = 91 { id: u32, granted: u64, left: u64, since: u64, },
    }

    /// Core → relay: the process in a container that carries bytes between the core's one connection and the
    /// descriptors of process 1. Each descriptor is a stream, known by a number of the relay's choosing.
    pub enum Order {
        /// A [`Request`], for process 1.
        Ask = 100 { request: Blob, },
        /// Bytes to write to a stream. No more than [`WINDOW`] of them may be on their way.
        Feed = 101 { stream: u32, bytes: Blob, },
        /// So many bytes more may be sent of what a stream reads.
        Grant = 102 { stream: u32, bytes: u32, },
        /// Nothing more will be written to a stream.
        Finish = 103 { stream: u32, },
        /// Nobody has to do with a stream any more.
        Leave = 104 { stream: u32, },
        /// The size of a stream that is a terminal.
        Resize = 105 { stream: u32, cols: u16, rows: u16, },
        /// Connects a stream that is a socket to a port of the loopback address. Answered by `Connected` or `End`.
        Connect = 106 { stream: u32, v6: bool, port: u16, },
    }

    /// Relay → core.
    pub enum Report {
        /// A [`Reply`] of process 1, and the numbers of the streams that came with it.
        Told = 100 { reply: Reply, streams: Vec<u32>, },
        /// Bytes that were read from a stream. No more than [`WINDOW`] and what was granted since.
        Read = 101 { stream: u32, bytes: Blob, },
        /// So many bytes of what was to be written to a stream have been.
        Taken = 102 { stream: u32, bytes: u32, },
        /// Nothing more can be read from a stream; where there is an `errno`, that is why.
        End = 103 { stream: u32, errno: i32, },
        /// A socket is connected.
        Connected = 104 { stream: u32, },
        /// Nothing more can be written to a stream, and why.
        Refused = 105 { stream: u32, errno: i32, },
    }

    /// What a failed request failed at, where `errno` alone does not tell.
    pub enum Trouble {
        /// The path or the object that the request names.
        Path = 0,
        /// The working directory of a command.
        WorkingDirectory = 1,
        /// The program of a command.
        Program = 2,
        /// The object is there but is no regular file.
        NotRegular = 3,
        /// The terminal of a command.
        Terminal = 4,
        /// The path that something was to get.
        Destination = 20,
    }

    /// What a copy failed at; the `errno` is the exit code of its job.
    pub struct Halt {
        /// Whether it was the source or the copy.
        pub trouble: Trouble,
        /// Where below it: empty, or a path that begins with a slash. Need not be UTF-8.
        pub below: Blob,
    }

    /// What a sandbox uses. Of processes nothing unless it was asked for.
    pub struct Usage {
        /// Bytes of files.
        pub disk: u64,
        /// That there can be.
        pub disk_total: u64,
        /// Bytes of memory that belong to processes.
        pub memory: u64,
        /// Microseconds of the processors' time, since the sandbox began.
        pub cpu: u64,
        /// Processes and threads.
        pub processes: u32,
    }

    /// A command to start.
    pub struct Command {
        /// The program and its arguments; the program is looked up along `PATH` of `env`.
        pub argv: Vec<String>,
        /// The whole environment.
        pub env: BTreeMap<String, String>,
        /// Working directory.
        pub cwd: String,
        /// Whether the caller writes to its standard input; it reads end-of-file otherwise.
        pub stdin: bool,
        /// A terminal of its own: columns and rows.
        pub terminal: Option<(u16, u16)>,
        /// A text that the command finds open on [`SCRIPT_FD`].
        pub script: Option<Blob>,
    }

    /// One entry of a directory, or what is at a path.
    pub struct Entry {
        /// Name within its directory; need not be UTF-8.
        pub name: Blob,
        /// Whether it is a directory, or a link to one.
        pub directory: bool,
        /// Bytes; 0 for directories.
        pub size: u64,
        /// Milliseconds since 1970.
        pub modified: i64,
        /// The text of a symbolic link.
        pub link: Option<Blob>,
    }
}

impl Plan {
    /// Nothing in it, nothing allowed.
    pub fn empty() -> Self {
        Self {
            host: Vec::new(),
            links: Vec::new(),
            programs: Vec::new(),
            hidden: Vec::new(),
            names: Vec::new(),
            disk: 0,
            inodes: 0,
            memory: 0,
            processes: 0,
            cpus: 0,
            open_files: 0,
            spares: 0,
            rootfs: None,
            mounts: Vec::new(),
            warm: Vec::new(),
            layers: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
