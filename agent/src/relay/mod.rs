//! The relay: carries bytes between a core's one connection to a container, which the engine makes this process'
//! input and output, and the descriptors that process 1 hands out.
//!
//! One thread, one loop. It never holds more than a [`WINDOW`] of a stream, and reads none further than the core has
//! room for; so a stream that nobody reads stops whoever writes to it, and nobody else.
//!
//! It is believed by process 1, and hides from the commands, which run as the same user. They can still kill it: then
//! the core loses its connection, and makes another.
//!
//! When the core has gone, commands go on, and must not be stopped by what they write: the relay stays and reads it,
//! for nobody, until they have ended.

mod stream;

use std::collections::{BTreeMap, VecDeque};
use std::io::{stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use computesdk_agent::channel;
use computesdk_agent::frames::{Frames, ORDER, put, put_read};
use computesdk_agent::protocol::{DATAGRAM, Order, PIECE, Reply, Report, decode};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::{Errno, Result};

use self::stream::Stream;
use crate::links;
use crate::privileges;

/// Bytes that may wait to be taken by the core before no more are read for it.
const HELD: usize = 512 * 1024;

struct Relay {
    link: OwnedFd,
    orders: Frames,
    streams: BTreeMap<u32, Stream>,
    next: u32,
    /// What the core is still to be told.
    out: VecDeque<u8>,
    /// The core has gone.
    alone: bool,
}

/// Runs until the core has gone and nothing is left to read, or process 1 has let go.
pub fn run() -> ExitCode {
    if privileges::hide().is_err() {
        return ExitCode::from(3);
    }
    let Ok(link) = links::call() else { return ExitCode::from(4) };
    for end in [stdin().as_fd(), stdout().as_fd()] {
        let flags = rustix::fs::fcntl_getfl(end).map(|flags| flags | OFlags::NONBLOCK);
        if flags.and_then(|flags| rustix::fs::fcntl_setfl(end, flags)).is_err() {
            return ExitCode::from(5);
        }
    }
    let mut relay = Relay {
        link,
        orders: Frames::new(ORDER),
        streams: BTreeMap::new(),
        next: 1,
        out: VecDeque::new(),
        alone: false,
    };
    loop {
        if relay.turn().is_none() || (relay.alone && relay.streams.is_empty()) {
            return ExitCode::SUCCESS;
        }
    }
}

impl Relay {
    /// Waits until there is something to do, and does it. `None` is the end.
    fn turn(&mut self) -> Option<()> {
        let ready = self.wait().ok()?;
        if ready.link {
            self.hear()?;
        }
        if ready.input {
            self.listen();
        }
        for number in ready.streams {
            self.carry(number);
        }
        self.look_at_the_time();
        self.flush();
        Some(())
    }

    fn wait(&self) -> Result<Ready> {
        let room = self.alone || self.out.len() < HELD;
        let (input, output) = (stdin(), stdout());
        let mut polled = vec![PollFd::from_borrowed_fd(self.link.as_fd(), PollFlags::IN)];
        if !self.alone {
            polled.push(PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN));
            if !self.out.is_empty() {
                polled.push(PollFd::from_borrowed_fd(output.as_fd(), PollFlags::OUT));
            }
        }
        let first = polled.len();
        let now = Instant::now();
        let mut numbers = Vec::new();
        for (number, stream) in &self.streams {
            let interest = stream.interest(room, now);
            if !interest.is_empty() {
                numbers.push(*number);
                polled.push(PollFd::from_borrowed_fd(stream.fd(), interest));
            }
        }
        let soonest = self.streams.values().filter_map(Stream::until).min();
        let patience = soonest.map(|until| timespec(until.saturating_duration_since(now)));
        match rustix::event::poll(&mut polled, patience.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let is_ready = |one: &PollFd<'_>| !one.revents().is_empty();
        let streams = numbers.into_iter().zip(&polled[first..]).filter(|(_, one)| is_ready(one));
        Ok(Ready {
            link: is_ready(&polled[0]),
            input: !self.alone && is_ready(&polled[1]),
            streams: streams.map(|(number, _)| number).collect(),
        })
    }

    /// Passes on what process 1 says.
    fn hear(&mut self) -> Option<()> {
        let mut buffer = [0; DATAGRAM + 1];
        let mut received = channel::receive(&self.link, &mut buffer, true).ok()??;
        let descriptors = std::mem::take(&mut received.descriptors);
        let reply: Reply = decode(received.bytes(&buffer))?;
        let of = match reply {
            Reply::Started { id, .. } | Reply::Opened { id, .. } | Reply::Socket { id } => id,
            _ => 0,
        };
        let mut numbers = Vec::new();
        for fd in descriptors {
            let stream = Stream::new(fd, of, self.alone).ok()?;
            numbers.push(self.next);
            self.streams.insert(self.next, stream);
            self.next += 1;
        }
        let ended = if let Reply::Exited { id, .. } = reply { Some(id) } else { None };
        self.tell(&Report::Told { reply, streams: numbers });
        if let Some(id) = ended {
            let of_it: Vec<_> = self
                .streams
                .iter()
                .filter(|(_, stream)| stream.of() == id)
                .map(|(number, _)| *number)
                .collect();
            for number in of_it {
                if self.streams.get_mut(&number).is_some_and(Stream::writer_has_ended) {
                    self.end(number, 0);
                }
            }
        }
        Some(())
    }

    /// Does what the core orders. Its end is no order.
    fn listen(&mut self) {
        let mut buffer = vec![0; PIECE];
        match rustix::io::read(stdin(), &mut buffer) {
            Ok(0) => return self.stay_alone(),
            Ok(read) => self.orders.feed(&buffer[..read]),
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => return self.stay_alone(),
        }
        loop {
            match self.orders.take() {
                Ok(Some(order)) => self.obey(order),
                Ok(None) => return,
                Err(_) => return self.stay_alone(),
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Ask { request } => {
                // Process 1 answers everybody at once; if it has gone, so is everything.
                let _ = channel::send(&self.link, &request.0, &[]);
            }
            Order::Feed { stream, bytes } => {
                let Some(to) = self.streams.get_mut(&stream) else { return };
                to.feed(bytes.0);
                self.write(stream);
            }
            Order::Grant { stream, bytes } => {
                if let Some(of) = self.streams.get_mut(&stream) {
                    of.grant(bytes as usize);
                }
            }
            Order::Finish { stream } => {
                let Some(to) = self.streams.get_mut(&stream) else { return };
                to.finish();
                self.write(stream);
            }
            Order::Leave { stream } => {
                self.streams.remove(&stream);
            }
            Order::Resize { stream, cols, rows } => {
                if let Some(of) = self.streams.get(&stream) {
                    of.resize(cols, rows);
                }
            }
            Order::Connect { stream, v6, port } => {
                let Some(socket) = self.streams.get_mut(&stream) else { return };
                if let Err(errno) = socket.connect(v6, port) {
                    self.end(stream, errno.raw_os_error());
                }
            }
        }
    }

    /// Reads from and writes to a stream what can be.
    fn carry(&mut self, number: u32) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        match stream.connected() {
            Some(Ok(())) => return self.tell(&Report::Connected { stream: number }),
            Some(Err(errno)) => return self.end(number, errno.raw_os_error()),
            None => {}
        }
        self.write(number);
        let room = self.alone || self.out.len() < HELD;
        let Some(stream) = self.streams.get_mut(&number).filter(|_| room) else { return };
        let mut buffer = [0; PIECE];
        match stream.read(&mut buffer) {
            None => {}
            Some(Ok(read)) => {
                let over = stream.is_over();
                if !self.alone {
                    let mut message = Vec::with_capacity(read + 32);
                    put_read(&mut message, number, &buffer[..read]);
                    self.out.extend(message);
                }
                if over {
                    self.end(number, 0);
                }
            }
            Some(Err(errno)) => self.end(number, errno),
        }
    }

    fn write(&mut self, number: u32) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        let (taken, failed) = stream.write();
        if failed.is_some() {
            stream.stop_writing();
        }
        if stream.is_done() {
            self.streams.remove(&number);
        }
        if taken > 0 {
            self.tell(&Report::Taken { stream: number, bytes: taken as u32 });
        }
        if let Some(errno) = failed {
            self.tell(&Report::Refused { stream: number, errno: errno.raw_os_error() });
        }
    }

    /// Nothing more can be read.
    fn end(&mut self, number: u32, errno: i32) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        let gone = !stream.stop_reading(errno != 0);
        if gone {
            self.streams.remove(&number);
        }
        self.tell(&Report::End { stream: number, errno });
        if gone {
            self.tell(&Report::Refused { stream: number, errno: Errno::PIPE.raw_os_error() });
        }
    }

    /// Ends what has been waited for long enough.
    fn look_at_the_time(&mut self) {
        let now = Instant::now();
        let late =
            self.streams.iter_mut().filter_map(|(number, stream)| stream.is_too_late(now).then_some(*number));
        let over: Vec<_> = late.collect();
        for number in over {
            self.end(number, 0);
        }
    }

    fn tell(&mut self, report: &Report) {
        if !self.alone {
            let mut message = Vec::new();
            put(&mut message, report);
            self.out.extend(message);
        }
    }

    fn flush(&mut self) {
        while !self.out.is_empty() && !self.alone {
            match rustix::io::write(stdout(), self.out.as_slices().0) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(_) => return self.stay_alone(),
            }
        }
    }

    /// The core has gone. What commands write is read on; all else is let go of.
    fn stay_alone(&mut self) {
        self.alone = true;
        self.out.clear();
        self.streams.retain(|_, stream| stream.is_read_for_nobody());
    }
}

/// What can be done.
struct Ready {
    link: bool,
    input: bool,
    streams: Vec<u32>,
}

fn timespec(time: Duration) -> Timespec {
    // Never a moment too short.
    let time = time + Duration::from_millis(1);
    Timespec { tv_sec: time.as_secs() as _, tv_nsec: i64::from(time.subsec_nanos()) as _ }
}
