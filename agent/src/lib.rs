//! What the core and the agent have in common: the messages, the socket that carries them, and whose
//! a file is.
//!
//! The program itself (broker and process 1) is `main.rs`; its map is there.

#[cfg(target_os = "linux")]
pub mod channel;
#[cfg(target_os = "linux")]
pub mod own;
pub mod protocol;
