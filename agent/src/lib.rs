//! What the core and the agent have in common: the messages, the socket and the stream of bytes that carry them, whose
//! a file is, and what the kernel's lists of sockets say.
//!
//! The program itself (broker and process 1) is `main.rs`; its map is there.

#[cfg(target_os = "linux")]
pub mod channel;
pub mod frames;
#[cfg(target_os = "linux")]
pub mod own;
pub mod protocol;
pub mod sockets;
