//! A descriptor inside a container, as this side sees it: bytes from it and to it, over the link.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::{Buf, Bytes};
use computesdk_agent::protocol::{Order, PIECE, WINDOW};
use tokio::sync::Notify;

use super::link::Link;

/// Dropped, nobody has to do with the descriptor any more: whoever writes to it is told.
#[derive(Debug)]
pub(super) struct Stream {
    number: u32,
    link: Weak<Link>,
    flow: Arc<Flow>,
}

/// What is on its way, both ways.
#[derive(Debug, Default)]
pub(super) struct Flow {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// What has come and was not read.
    came: VecDeque<Bytes>,
    /// Bytes of it that may still come.
    room: usize,
    /// Bytes that were read and not granted anew.
    read: usize,
    /// Nothing more comes: 0, or what the kernel said.
    end: Option<i32>,
    /// Bytes that may still be sent.
    credit: usize,
    /// Nothing more can be sent: what the kernel said.
    refused: Option<i32>,
    connected: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            came: VecDeque::new(),
            room: WINDOW,
            read: 0,
            end: None,
            credit: WINDOW,
            refused: None,
            connected: false,
        }
    }
}

impl Flow {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State) -> bool) -> bool {
        let good = change(&mut self.state());
        self.changed.notify_waiters();
        good
    }

    /// Takes bytes. False if there are more than there was room for.
    pub(super) fn take(&self, bytes: Vec<u8>) -> bool {
        if bytes.is_empty() {
            return true;
        }
        self.change(|state| match state.room.checked_sub(bytes.len()) {
            Some(room) if state.end.is_none() => {
                state.room = room;
                state.came.push_back(bytes.into());
                true
            }
            _ => false,
        })
    }

    /// So many bytes have been written. False if there were not so many.
    pub(super) fn taken(&self, bytes: usize) -> bool {
        self.change(|state| {
            state.credit += bytes;
            state.credit <= WINDOW
        })
    }

    pub(super) fn end(&self, errno: i32) {
        self.change(|state| {
            state.end.get_or_insert(errno);
            true
        });
    }

    pub(super) fn refuse(&self, errno: i32) {
        self.change(|state| {
            state.refused.get_or_insert(errno);
            true
        });
    }

    pub(super) fn connect(&self) {
        self.change(|state| {
            state.connected = true;
            true
        });
    }

    /// The link is closed.
    pub(super) fn close(&self) {
        self.change(|state| {
            state.end.get_or_insert(LOST);
            state.refused.get_or_insert(LOST);
            true
        });
    }

    /// Waits until `look` finds something.
    async fn until<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.state()) {
                return found;
            }
            changed.await;
        }
    }
}

/// What a read says when the link has gone: `ENOTCONN`.
const LOST: i32 = 107;

impl Stream {
    pub(super) fn new(number: u32, link: Weak<Link>, flow: Arc<Flow>) -> Self {
        Self { number, link, flow }
    }

    fn link(&self) -> io::Result<Arc<Link>> {
        self.link.upgrade().ok_or_else(|| io::Error::from_raw_os_error(LOST))
    }

    /// Reads what is there, at most `most` bytes; empty at the end. Dropped: nothing is lost.
    pub(super) async fn read(&self, most: usize) -> io::Result<Bytes> {
        let (bytes, granted) = self
            .flow
            .until(|state| {
                let Some(first) = state.came.front_mut() else {
                    return match state.end? {
                        0 => Some(Ok((Bytes::new(), 0))),
                        errno => Some(Err(io::Error::from_raw_os_error(errno))),
                    };
                };
                let bytes = first.split_to(most.min(first.len()));
                if first.is_empty() {
                    state.came.pop_front();
                }
                state.read += bytes.len();
                // Not for every piece: half a window is still on its way.
                let granted = if state.read >= WINDOW / 2 { std::mem::take(&mut state.read) } else { 0 };
                state.room += granted;
                Some(Ok((bytes, granted)))
            })
            .await?;
        if granted > 0
            && let Ok(link) = self.link()
        {
            link.order(&Order::Grant { stream: self.number, bytes: granted as u32 });
        }
        Ok(bytes)
    }

    /// Writes all of it, and waits until it is written. An error is the end of writing.
    pub(super) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        let broken = io::Error::from_raw_os_error;
        while !bytes.is_empty() {
            let length = self
                .flow
                .until(|state| match (state.refused, state.credit) {
                    (Some(errno), _) => Some(Err(broken(errno))),
                    (None, 0) => None,
                    (None, credit) => {
                        let length = bytes.len().min(credit).min(PIECE);
                        state.credit -= length;
                        Some(Ok(length))
                    }
                })
                .await?;
            self.link()?.feed(self.number, &bytes[..length]);
            bytes.advance(length);
        }
        self.flow
            .until(|state| match (state.credit == WINDOW, state.refused) {
                (true, _) => Some(Ok(())),
                (false, Some(errno)) => Some(Err(broken(errno))),
                (false, None) => None,
            })
            .await
    }

    /// Nothing more will be written.
    pub(super) fn finish(&self) {
        if let Ok(link) = self.link() {
            link.order(&Order::Finish { stream: self.number });
        }
    }

    /// Tells a terminal its size.
    pub(super) fn resize(&self, cols: u16, rows: u16) {
        if let Ok(link) = self.link() {
            link.order(&Order::Resize { stream: self.number, cols, rows });
        }
    }

    /// Connects a socket to a port of the loopback address.
    pub(super) async fn connect(&self, v6: bool, port: u16) -> io::Result<()> {
        self.link()?.order(&Order::Connect { stream: self.number, v6, port });
        self.flow
            .until(|state| match (state.connected, state.end) {
                (true, _) => Some(Ok(())),
                (false, Some(errno)) => Some(Err(io::Error::from_raw_os_error(errno))),
                (false, None) => None,
            })
            .await
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(link) = self.link.upgrade() {
            link.leave(self.number);
        }
    }
}
