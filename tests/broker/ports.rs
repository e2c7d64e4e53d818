//! What connections into a sandbox cost this process, and what is left of them.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use computesdk::compute;
use computesdk::error::ErrorKind;
use computesdk::provider::{self, CreateRequest, Process, Program, Resources};
use computesdk::sandbox::Sandbox;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;

use super::harness::{At, Case, cases};
use super::{assert_back_to, at_rest, growth, is_root};

pub(super) const CASES: &[Case] = cases![
    five_hundred_connections_cost_little_and_leave_no_trace,
    ports_of_a_create_that_fails_leave_no_trace,
    a_sandbox_has_so_many_ports_and_no_more,
    more_connections_than_there_is_room_for_wait,
    without_descriptors_clients_wait_and_nothing_spins,
];

/// How long something takes that has to come to pass, on a machine that is busy.
const ANSWER: Duration = Duration::from_secs(15);
/// How long is waited for what must not come to pass.
const SILENCE: Duration = Duration::from_millis(400);

/// Starts a server in the sandbox that gives back what it gets.
async fn echo(sandbox: &Sandbox) -> Process {
    let source = "import asyncio
async def each(r, w):
  while b := await r.read(1 << 20): w.write(b); await w.drain()
  w.close()
async def main(): await (await asyncio.start_server(each, '127.0.0.1', 9001, backlog=1024)).serve_forever()
asyncio.run(main())";
    let argv = ["python3", "-c", source].map(str::to_owned).into();
    let command = provider::Command { program: Program::Args(argv), ..provider::Command::default() };
    let process = sandbox.instance().spawn(&command).await.unwrap();
    sandbox.wait_for_port(9001, Some(ANSWER), &CancellationToken::new()).await.unwrap();
    process
}

/// Clients in a process of their own, so that what this one has is what carries them. They do what a line of
/// Python says when they are told to, and tell what they print.
struct Clients {
    process: Child,
    stdin: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Clients {
    async fn of(sandbox: &Sandbox) -> Self {
        let url = sandbox.url(9001, None).await.unwrap();
        let port = url.rsplit(':').next().unwrap();
        let source = "import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
port = int(sys.argv[1]); cs = []
def connect(n):
  for _ in range(n): cs.append(socket.create_connection(('127.0.0.1', port))); cs[-1].settimeout(15)
def ask(some, size=1):
  for c in some:
    c.sendall(bytes(size)); left = size
    while left: left -= len(c.recv(left)) or sys.exit('closed')
def is_reset(c):
  try: return bool(c.recv(1)) and False
  except ConnectionResetError: return True
for line in sys.stdin: exec(line); print('done', flush=True)";
        let mut process = Command::new("python3")
            .args(["-c", source, port])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { process, stdin, lines }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    fn answer(&self, within: Duration) -> Option<String> {
        self.lines.recv_timeout(within).ok()
    }

    fn done(&mut self, line: &str) {
        self.tell(line);
        assert_eq!(self.answer(ANSWER).as_deref(), Some("done"), "{line}");
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn five_hundred_connections_cost_little_and_leave_no_trace(at: At) {
    let before = at_rest(&at).await;
    let sandbox = at.sandbox().await;
    let server = echo(&sandbox).await;
    let mut clients = Clients::of(&sandbox).await;
    clients.done("connect(20); ask(cs, 1000)");
    let grown = growth(async {
        // Each has had much to carry, and has nothing now.
        clients.done("connect(480); ask(cs, 200000)");
    })
    .await;
    assert!(grown < 16 << 20, "{grown} bytes");
    sandbox.destroy().await.unwrap();
    clients.done("all(map(is_reset, cs)) or sys.exit('not all are reset')");
    drop((clients, server));
    assert_back_to(&before).await;
}

async fn ports_of_a_create_that_fails_leave_no_trace(at: At) {
    let before = at_rest(&at).await;
    // More ports than this process may have descriptors.
    let limit = limit_descriptors(200);
    let request = CreateRequest { ports: (1..=256).collect(), ..CreateRequest::default() };
    let error = compute::create_at(&at.0, &request, false).await.unwrap_err();
    setrlimit(Resource::Nofile, limit).unwrap();
    assert!(error.is_retryable() && error.message().contains("port "), "{error}");
    assert_back_to(&before).await;

    if !is_root() {
        let resources = Resources { enforce: Some(true), ..Resources::default() };
        let request = CreateRequest { ports: vec![80], resources, ..CreateRequest::default() };
        compute::create_at(&at.0, &request, false).await.unwrap_err();
        assert_back_to(&before).await;
    }
}

async fn a_sandbox_has_so_many_ports_and_no_more(at: At) {
    let before = at_rest(&at).await;
    let request = CreateRequest { ports: (1..=256).collect(), ..CreateRequest::default() };
    let sandbox = compute::create_at(&at.0, &request, false).await.unwrap();
    sandbox.url(256, None).await.unwrap();
    let error = sandbox.url(257, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
    assert!(error.message().contains("port 257 "), "{error}");
    sandbox.destroy().await.unwrap();
    let request = CreateRequest { ports: (1..=257).collect(), ..CreateRequest::default() };
    let error = compute::create_at(&at.0, &request, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
    assert_back_to(&before).await;
}

async fn more_connections_than_there_is_room_for_wait(at: At) {
    let before = at_rest(&at).await;
    let limit = limit_descriptors(4096);
    let sandbox = at.sandbox().await;
    let server = echo(&sandbox).await;
    let mut clients = Clients::of(&sandbox).await;
    // A port that nobody uses takes no place.
    sandbox.url(9002, None).await.unwrap();
    clients.done("connect(1024); ask(cs)");
    clients.done("late = socket.create_connection(('127.0.0.1', port)); late.sendall(b'x')");
    clients.tell("late.recv(1)");
    assert_eq!(clients.answer(SILENCE), None, "there was room");
    drop(clients);

    let mut clients = Clients::of(&sandbox).await;
    clients.done("connect(1024); ask(cs)");
    clients.done("late = socket.create_connection(('127.0.0.1', port)); late.sendall(b'x')");
    clients.done("cs.pop().close(); late.settimeout(15); assert late.recv(1) == b'x'");
    sandbox.destroy().await.unwrap();
    drop((clients, server));
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_back_to(&before).await;
}

async fn without_descriptors_clients_wait_and_nothing_spins(at: At) {
    let sandbox = at.sandbox().await;
    let _server = echo(&sandbox).await;
    let mut clients = Clients::of(&sandbox).await;
    clients.done("connect(1); ask(cs)");
    let stat = File::open("/proc/self/stat").unwrap();
    let limit = limit_descriptors(3);
    let begun = ticks(&stat);
    clients.tell("connect(1); ask(cs)");
    let answer = clients.answer(SILENCE);
    let spent = ticks(&stat) - begun;
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(answer, None, "there are no descriptors");
    // Hundredths of a second.
    assert!(spent < 15, "{spent} of {SILENCE:?}");
    assert_eq!(clients.answer(ANSWER).as_deref(), Some("done"));
}

/// Lets this process have so many descriptors; gives what it was allowed before.
fn limit_descriptors(most: u64) -> Rlimit {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum }).unwrap();
    limit
}

/// Processor time of this process.
fn ticks(stat: &File) -> u64 {
    let mut bytes = [0; 1024];
    let read = stat.read_at(&mut bytes, 0).unwrap();
    let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
    let fields: Vec<_> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
