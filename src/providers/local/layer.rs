//! What was kept of one sandbox: memory of this process' own, which is counted and has a limit.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use computesdk_agent::own::is_own;
use computesdk_agent::protocol::{BrokerReply, BrokerRequest};
use tokio::sync::oneshot;

use super::broker::{Broker, Ticket, ended};
use super::error;
use super::instance::PATIENCE;
use crate::error::{Error, ErrorKind, Result};

/// What a file costs in memory beside what it holds.
const PER_FILE: u64 = 1024;

/// By how much more may be written while it is kept: an eighth, and these bytes and files.
const MORE: (u64, u64) = (1 << 20, 256);

/// Never the same twice, whatever becomes of brokers: what one has kept is not looked for at another.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// Bytes that all layers of this process take, and those that are being made may come to take.
static USED: Mutex<u64> = Mutex::new(0);

/// A layer at the broker. Dropped, it is let go of; the kernel keeps it as long as a sandbox stands on it.
#[derive(Debug)]
pub(super) struct Layer {
    broker: Arc<Broker>,
    number: u32,
    room: Room,
}

impl Layer {
    /// Its number in a plan.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Whether the broker that has it lives.
    pub(super) fn is_there(&self) -> bool {
        !self.broker.is_dead()
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        self.broker.forget(self.number);
    }
}

impl Ticket {
    /// Keeps what the sandbox has written, if all layers take no more than this together. Dropped before that is done,
    /// nothing is kept.
    pub(super) async fn keep(&self, written: OwnedFd, most: u64) -> Result<Layer> {
        let (room, bytes, files) = Room::for_copy_of(&written, most)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (broker, id) = self.origin();
        let mut layer = Layer { broker, number, room };
        let (sender, receiver) = oneshot::channel();
        layer.broker.keeping(|keeping| drop(keeping.insert(number, sender)));
        if layer.broker.is_dead() {
            return Err(ended());
        }
        let request = BrokerRequest::Keep { id, layer: number, bytes, files };
        layer.broker.send(&request, Some(written)).await.map_err(error::of_sending)?;
        match tokio::time::timeout(PATIENCE, receiver).await {
            Ok(Ok(BrokerReply::Kept { bytes, .. })) => layer.room.settle(bytes),
            Ok(Ok(BrokerReply::Lost { failure, .. })) => return Err(error::of_keeping(&failure, most)),
            Ok(_) => return Err(ended()),
            Err(_) => {
                let message = format!("the snapshot took longer than {} s", PATIENCE.as_secs());
                return Err(Error::new(ErrorKind::Timeout, message)
                    .with_hint("remove files that are not needed, or end what writes all the time"));
            }
        }
        tracing::debug!(layer = number, bytes = layer.room.0, "kept");
        Ok(layer)
    }
}

/// Memory that is set aside. Dropped, it is free again.
#[derive(Debug)]
struct Room(u64);

impl Room {
    /// Room for a copy of what is written there: how much of it, in bytes of content and in files.
    fn for_copy_of(written: &OwnedFd, most: u64) -> Result<(Self, u64, u64)> {
        if !is_own(written).unwrap_or(false) {
            return Err(error::nonsense());
        }
        let stat = rustix::fs::fstatvfs(written).map_err(|_| error::nonsense())?;
        let bytes = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize);
        let files = stat.f_files.saturating_sub(stat.f_ffree);
        let least = bytes.saturating_add(files.saturating_mul(PER_FILE));
        let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
        let left = most.saturating_sub(*used);
        if least > left {
            return Err(error::of_room(least, *used, most));
        }
        // All of what is left, if there is less of it than it may come to.
        let files = files.saturating_add(files / 8 + MORE.1).min(left / PER_FILE);
        let bytes = bytes.saturating_add(bytes / 8 + MORE.0).min(left - files * PER_FILE);
        // To a file system, none would be no limit.
        if files == 0 || bytes == 0 {
            return Err(error::of_room(least, *used, most));
        }
        let room = bytes + files * PER_FILE;
        *used += room;
        Ok((Self(room), bytes, files))
    }

    /// It is known now how much it takes: no more than was set aside.
    fn settle(&mut self, bytes: u64) {
        let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_sub(self.0).saturating_add(bytes);
        self.0 = bytes;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_sub(self.0);
    }
}
