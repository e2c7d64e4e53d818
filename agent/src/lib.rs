//! What the core and the agent have in common: the messages, the socket that carries them, whose a file
//! is, and what the kernel's lists of sockets say.
//!
//! The program itself (broker and process 1) is `main.rs`; its map is there.

#[cfg(target_os = "linux")]
pub mod channel;
#[cfg(target_os = "linux")]
pub mod own;
pub mod protocol;
pub mod sockets;
