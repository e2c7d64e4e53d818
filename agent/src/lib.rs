//! What the core and the agent have in common: the messages and the socket that carries them.
//!
//! The program itself (broker and process 1) is `main.rs`; its map is there.

#[cfg(target_os = "linux")]
pub mod channel;
pub mod protocol;
