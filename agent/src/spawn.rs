//! Starting a command, and ending one with all that came of it.

use std::cell::UnsafeCell;
use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};

use computesdk_agent::channel;
use computesdk_agent::protocol::{Access, Command, Language, Lent, Plan, SCRIPT_FD, Trouble};
use rustix::io::Errno;

use crate::guard;
use crate::step::checked;
use crate::streams::Streams;

/// A command is marked, so that all that comes of it can be found however it is orphaned or renamed: its
/// limit of real-time processor time, which means nothing without real-time scheduling, is this many
/// microseconds and its number. Limits are inherited for ever, can be read by the same user, and never be
/// raised again; a filter keeps them from being lowered ([`KEEP_MARK`]).
const MARK: libc::rlim_t = 1 << 40;

/// The mark of interpreters that wait for code (`warm`), and of all that comes of them but runs; those of the next
/// language have the next. It is above that of every command, so that process 1 can give one of them the mark of its run.
const WAITING: libc::rlim_t = 1 << 41;

/// Lets nobody who is marked change a mark, be it to a lower one: `prlimit64(_, RLIMIT_RTTIME, new, _)` with
/// a `new`, and `setrlimit(RLIMIT_RTTIME, _)`, are refused. Marks are set under process 1's own filter,
/// which has judged the architecture already, so this is another one, on every command.
static KEEP_MARK: [libc::sock_filter; 13] = {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    const MARK: u32 = libc::RLIMIT_RTTIME;
    const fn bpf(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt, jf, k }
    }
    // The offsets are those of the kernel's `struct seccomp_data`; a jump counts the instructions to skip.
    [
        bpf(LOAD, 0, 0, 0), // the call
        bpf(EQUAL, libc::SYS_prlimit64 as u32, 0, 6),
        bpf(LOAD, 24, 0, 0), // its second argument
        bpf(EQUAL, MARK, 0, 8),
        bpf(LOAD, 32, 0, 0), // its third, one half
        bpf(EQUAL, 0, 0, 5),
        bpf(LOAD, 36, 0, 0), // and the other
        bpf(EQUAL, 0, 4, 3),
        bpf(EQUAL, SETRLIMIT, 0, 3),
        bpf(LOAD, 16, 0, 0), // its first argument
        bpf(EQUAL, MARK, 0, 1),
        bpf(RETURN, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0, 0),
        bpf(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
    ]
};

#[cfg(target_arch = "x86_64")]
const SETRLIMIT: u32 = libc::SYS_setrlimit as u32;
/// libc has no name for it here.
#[cfg(target_arch = "aarch64")]
const SETRLIMIT: u32 = 164;

/// How readily the kernel kills a command, rather than process 1, when memory runs out.
const OOM_SCORE: &[u8] = b"500";

const CHILD_STACK: usize = 64 * 1024;

/// A process that runs, and the descriptors to hand to whoever asked for it.
pub struct Started {
    pub pid: i32,
    pub descriptors: Vec<OwnedFd>,
}

/// Starts commands.
pub struct Spawner {
    stack: Vec<u8>,
    open_files: libc::rlim_t,
    /// For commands that have what is still the host's in sight.
    guard: Option<Vec<libc::sock_filter>>,
}

/// Everything the child needs, made before it exists: between clone and exec it shares this process'
/// memory and must not allocate.
struct Prepared<'a> {
    programs: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    cwd: CString,
    standard: [i32; 3],
    terminal: bool,
    script: Option<i32>,
    open_files: libc::rlim_t,
    mark: libc::rlim_t,
    guard: Option<&'a [libc::sock_filter]>,
    failure: UnsafeCell<Option<(Trouble, i32)>>,
}

impl Spawner {
    /// Each command may have as many files open as the plan says, or as this process.
    pub fn new(plan: &Plan) -> Self {
        // SAFETY: a plain system call with a valid out pointer.
        let own = unsafe {
            let mut limit: libc::rlimit = std::mem::zeroed();
            libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
            limit.rlim_max
        };
        let is_hosts = |lent: &Lent| match lent.access {
            Access::Read => lent.directory,
            Access::Write => true,
            Access::Copy => false,
        };
        let guard = plan.mounts.iter().any(is_hosts).then(guard::program);
        Self { stack: vec![0; CHILD_STACK], open_files: plan.open_files.min(own), guard }
    }

    /// Starts a command under the number `id`. Its pipes are made here, so that they belong to the user
    /// and can be opened again through /dev/stdout.
    pub fn start(&mut self, id: u32, command: &Command) -> Result<Started, (Trouble, Errno)> {
        let program = |errno| (Trouble::Program, errno);
        let Streams { ours, theirs } = match command.terminal {
            Some(size) => Streams::terminal(size).map_err(|errno| (Trouble::Terminal, errno))?,
            None => Streams::pipes(command.stdin).map_err(program)?,
        };
        let script = match &command.script {
            Some(script) => Some(channel::sealed(&script.0).map_err(program)?),
            None => None,
        };
        let pid = self.launch(command, &theirs, script.as_ref(), MARK + libc::rlim_t::from(id))?;
        // Only now, after exec, may the user open files of the process; and only from outside, since this
        // process' own are hidden.
        score(pid);
        Ok(Started { pid, descriptors: ours })
    }

    /// Starts a program that is to wait for code in this language: it finds `link` on [`SCRIPT_FD`] and reads and writes
    /// `streams`.
    pub fn start_waiting(
        &mut self,
        language: &Language,
        command: &Command,
        streams: &[OwnedFd],
        link: &OwnedFd,
    ) -> Result<i32, (Trouble, Errno)> {
        let pid = self.launch(command, streams, Some(link), waiting(language))?;
        // When memory runs out, what waits goes before what runs.
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "1000");
        Ok(pid)
    }

    fn launch(
        &mut self,
        command: &Command,
        streams: &[OwnedFd],
        third: Option<&OwnedFd>,
        mark: libc::rlim_t,
    ) -> Result<i32, (Trouble, Errno)> {
        let program = |errno| (Trouble::Program, errno);
        let text = |text: &String| CString::new(text.as_bytes()).map_err(|_| program(Errno::INVAL));
        let argv = command.argv.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        let env = command
            .env
            .iter()
            .map(|(name, value)| text(&format!("{name}={value}")))
            .collect::<Result<Vec<_>, _>>()?;
        let prepared = Prepared {
            programs: candidates(command).map_err(program)?,
            argv: pointers(&argv),
            env: pointers(&env),
            cwd: text(&command.cwd)?,
            standard: [0, 1, 2].map(|stream: usize| streams[stream.min(streams.len() - 1)].as_raw_fd()),
            terminal: command.terminal.is_some(),
            script: third.map(AsRawFd::as_raw_fd),
            open_files: self.open_files,
            mark,
            guard: self.guard.as_deref(),
            failure: UnsafeCell::new(None),
        };
        let pid = clone(&mut self.stack, &prepared).map_err(program)?;
        // SAFETY: the child has called exec or ended, so nobody else writes here any more.
        match unsafe { (*prepared.failure.get()).clone() } {
            Some((trouble, errno)) => Err((trouble, Errno::from_raw_os_error(errno))),
            None => Ok(pid),
        }
    }
}

/// Runs the child up to `execve`; this process stands still meanwhile (as with vfork).
fn clone(stack: &mut [u8], prepared: &Prepared<'_>) -> Result<i32, Errno> {
    let top = stack.as_mut_ptr_range().end;
    // SAFETY: the stack is ours alone and large enough; CLONE_VFORK keeps `prepared` and the stack
    // alive until the child no longer uses them; `child` neither allocates nor returns.
    let pid = unsafe {
        libc::clone(
            child,
            top.map_addr(|address| address & !15).cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            std::ptr::from_ref(prepared).cast_mut().cast(),
        )
    };
    if pid < 0 { Err(last_errno()) } else { Ok(pid) }
}

extern "C" fn child(prepared: *mut libc::c_void) -> libc::c_int {
    // SAFETY: see `Spawner::clone`: the pointer is valid, and only calls that are allowed between vfork and
    // exec are made.
    unsafe {
        let prepared = &*prepared.cast::<Prepared<'_>>();
        libc::setsid();
        for (number, fd) in prepared.standard.into_iter().enumerate() {
            libc::dup2(fd, number as i32);
        }
        if prepared.terminal {
            libc::ioctl(0, libc::TIOCSCTTY, 0);
        }
        let mut first_closed = SCRIPT_FD;
        if let Some(script) = prepared.script {
            if script == SCRIPT_FD {
                libc::fcntl(script, libc::F_SETFD, 0);
            } else {
                libc::dup2(script, SCRIPT_FD);
            }
            first_closed += 1;
        }
        libc::syscall(libc::SYS_close_range, first_closed, libc::c_uint::MAX, 0);
        let limit = libc::rlimit { rlim_cur: prepared.mark, rlim_max: prepared.mark };
        libc::setrlimit(libc::RLIMIT_RTTIME, &raw const limit);
        let limit = libc::rlimit { rlim_cur: prepared.open_files, rlim_max: prepared.open_files };
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        let filters = [Some(&KEEP_MARK[..]), prepared.guard];
        for filter in filters.into_iter().flatten() {
            let filter = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
            if libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) != 0 {
                // What could take its mark off, or do what nobody may here, is not started.
                *prepared.failure.get() = Some((Trouble::Program, *libc::__errno_location()));
                libc::_exit(127)
            }
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);

        let mut failure = (Trouble::WorkingDirectory, libc::ENOENT);
        if libc::chdir(prepared.cwd.as_ptr()) != 0 {
            failure.1 = *libc::__errno_location();
        } else {
            failure.0 = Trouble::Program;
            for program in &prepared.programs {
                libc::execve(program.as_ptr(), prepared.argv.as_ptr(), prepared.env.as_ptr());
                let errno = *libc::__errno_location();
                match errno {
                    libc::ENOENT | libc::ENOTDIR => {}
                    // A later directory may have one that can be run; if not, this is what was wrong.
                    libc::EACCES => failure.1 = errno,
                    _ => {
                        failure.1 = errno;
                        break;
                    }
                }
            }
        }
        *prepared.failure.get() = Some(failure);
        libc::_exit(127)
    }
}

/// The file that a command would run now, if there is one.
pub fn program_of(command: &Command) -> Option<CString> {
    // SAFETY: a plain system call on a valid string.
    let runs = |path: &CString| unsafe { libc::access(path.as_ptr(), libc::X_OK) == 0 };
    candidates(command).ok()?.into_iter().find(runs)
}

/// The files that the program may be: itself if it has a slash, else one for each directory of `PATH`.
fn candidates(command: &Command) -> Result<Vec<CString>, Errno> {
    let name = command.argv.first().ok_or(Errno::INVAL)?;
    let paths = if name.is_empty() || name.contains('/') {
        vec![name.clone()]
    } else {
        let path = command.env.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
        path.split(':')
            .map(|directory| format!("{}/{name}", if directory.is_empty() { "." } else { directory }))
            .collect()
    };
    paths.into_iter().map(|path| CString::new(path).map_err(|_| Errno::INVAL)).collect()
}

fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Marks this process as part of command `id`; for the children that are not started by `execve`.
pub fn mark_self(id: u32) {
    let mark = MARK + libc::rlim_t::from(id);
    let limit = libc::rlimit { rlim_cur: mark, rlim_max: mark };
    // SAFETY: a plain system call with a valid pointer.
    unsafe { libc::setrlimit(libc::RLIMIT_RTTIME, &raw const limit) };
}

/// Makes a process that waits part of command `id`, from outside: it cannot refuse.
pub fn mark_other(pid: i32, id: u32) -> std::io::Result<()> {
    let mark = MARK + libc::rlim_t::from(id);
    let limit = libc::rlimit { rlim_cur: mark, rlim_max: mark };
    // SAFETY: a plain system call with valid pointers.
    checked(unsafe { libc::prlimit(pid, libc::RLIMIT_RTTIME, &raw const limit, std::ptr::null_mut()) })
        .map(drop)
}

/// Has the kernel kill a process as readily as every command, when memory runs out.
pub fn score(pid: i32) {
    let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE);
}

/// Whether a process is a child of this one, and neither has ended nor stands still.
pub fn is_own(pid: i32) -> bool {
    // SAFETY: a plain system call with a valid out pointer.
    unsafe {
        let mut end: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut end, flags) == 0 && end.si_pid() == 0
    }
}

/// Kills a child that has not been waited for: the number is its own until then.
pub fn end(pid: i32) {
    // SAFETY: a plain system call.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Lets a child go on that stands still, or has been told to and has not heard it yet.
pub fn go_on(pid: i32) {
    // SAFETY: a plain system call.
    unsafe { libc::kill(pid, libc::SIGCONT) };
}

/// Whether a process is no child that is still to be waited for; one that has ended is.
pub fn is_buried(pid: i32) -> bool {
    // SAFETY: a plain system call; nobody wants to know how it ended.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) != 0 }
}

/// Kills every process that came of command `id`, until a look around finds no new one. A process that has
/// been killed cannot fork again, so each round leaves fewer that could. An error means that processes may
/// live on.
pub fn kill_tree(id: u32) -> std::io::Result<()> {
    kill_marked(MARK + libc::rlim_t::from(id)).map(drop)
}

fn waiting(language: &Language) -> libc::rlim_t {
    match language {
        Language::Python => WAITING,
        Language::Node => WAITING + 1,
    }
}

/// Whether a process is an interpreter that waits for code, or came of one.
pub fn is_waiting(pid: i32) -> bool {
    mark_of(pid).is_some_and(|mark| mark >= WAITING && mark != libc::RLIM_INFINITY)
}

/// Kills likewise all interpreters that wait for code in this language, and what came of them but runs. Tells which they
/// were.
pub fn kill_waiting(language: &Language) -> std::io::Result<HashSet<i32>> {
    kill_marked(waiting(language))
}

fn kill_marked(mark: libc::rlim_t) -> std::io::Result<HashSet<i32>> {
    let mut killed = HashSet::new();
    loop {
        let found: Vec<i32> = processes()?
            .into_iter()
            .filter(|pid| !killed.contains(pid) && mark_of(*pid) == Some(mark))
            .collect();
        if found.is_empty() {
            return Ok(killed);
        }
        for pid in found {
            // SAFETY: a plain system call.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            killed.insert(pid);
        }
    }
}

/// The commands of which something is left.
pub fn left() -> std::io::Result<HashSet<u32>> {
    let id = |pid| mark_of(pid)?.checked_sub(MARK)?.try_into().ok();
    Ok(processes()?.into_iter().filter_map(id).collect())
}

/// Tells the session of command `id`, whose first process is `leader`, that its terminal is gone. Who is
/// stopped goes on, to hear it.
pub fn hang_up(id: u32, leader: i32) {
    let mark = MARK + libc::rlim_t::from(id);
    for pid in processes().unwrap_or_default() {
        // SAFETY: plain system calls.
        unsafe {
            if mark_of(pid) == Some(mark) && libc::getsid(pid) == leader {
                libc::kill(pid, libc::SIGHUP);
                libc::kill(pid, libc::SIGCONT);
            }
        }
    }
}

fn processes() -> std::io::Result<Vec<i32>> {
    let names = std::fs::read_dir("/proc")?.map(|entry| Ok(entry?.file_name()));
    let numbers = names.filter_map(|name: std::io::Result<_>| match name {
        Ok(name) => name.to_str()?.parse().ok().filter(|pid| *pid != 1).map(Ok),
        Err(error) => Some(Err(error)),
    });
    numbers.collect()
}

fn mark_of(pid: i32) -> Option<libc::rlim_t> {
    // SAFETY: a plain system call with a valid out pointer.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        (libc::prlimit(pid, libc::RLIMIT_RTTIME, std::ptr::null(), &raw mut limit) == 0)
            .then_some(limit.rlim_max)
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
