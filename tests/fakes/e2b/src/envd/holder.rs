//! A process, and a second one that holds its output open.
//!
//! envd reads the output of a process until nobody can write to it any more: a command that leaves something in the
//! background is over only when that is, or has let go of the output. A local sandbox says that a process has ended
//! when the process itself has. So the pipes here are those of a second process, which waits, once the first has
//! ended, until no other in the sandbox holds them.

use std::sync::Arc;

use computesdk::error::Result;
use computesdk::provider::{Chunk, Command, Control, Exit, Instance, Output, Process, Program, Wanted};
use tokio_util::sync::CancellationToken;

/// Waits for the end of its input; then until it has twice seen no other process with its output.
const HOLD: &str = r#"
read -r _
quiet=0
while [ $quiet -lt 2 ]; do
    quiet=$((quiet + 1))
    for fd in /proc/[0-9]*/fd/[0-9]*; do
        case $fd in /proc/$$/*) continue ;; esac
        if [ "$fd" -ef /proc/$$/fd/1 ] || [ "$fd" -ef /proc/$$/fd/2 ]; then
            quiet=0
            sleep 0.05 >/dev/null 2>&1
            break
        fi
    done
done"#;

const SIGKILL: i32 = 9;

/// A process that was started.
#[derive(Debug)]
pub struct Held {
    /// The handle to it.
    pub control: Arc<dyn Control>,
    /// Of a terminal, or of the one that holds it.
    output: Box<dyn Output>,
    holder: Option<Arc<dyn Control>>,
    exit: Option<Exit>,
}

impl Held {
    /// Starts a program as envd does: through a shell, so that one which is not there is told by that. (envd lowers
    /// its priority there as well, which a sandbox may not.)
    pub async fn start(instance: &dyn Instance, mut command: Command, argv: Vec<String>) -> Result<Self> {
        let through = |script: String| {
            let shell = ["/bin/sh".to_owned(), "-c".to_owned(), script, "--".to_owned()];
            Program::Args(shell.into_iter().chain(argv).collect())
        };
        if command.terminal.is_some() {
            command.program = through("exec \"${@}\"".to_owned());
            let Process { output, control } = instance.spawn(&command).await?;
            return Ok(Self { control, output, holder: None, exit: None });
        }
        let hold = ["/bin/sh", "-c", HOLD].map(str::to_owned).to_vec();
        let hold = Command { program: Program::Args(hold), stdin: true, ..Command::default() };
        let Process { output, control: holder } = instance.spawn(&hold).await?;
        let pid = holder.pid();
        command.program = through(format!("exec \"${{@}}\" >/proc/{pid}/fd/1 2>/proc/{pid}/fd/2"));
        match instance.spawn(&command).await {
            Ok(Process { control, .. }) => Ok(Self { control, output, holder: Some(holder), exit: None }),
            Err(error) => {
                holder.signal(SIGKILL).await?;
                Err(error)
            }
        }
    }

    /// The next piece of output; `None` at the end. Once `cut` is cancelled, only the process itself is waited for.
    pub async fn next(&mut self, cut: &CancellationToken) -> Option<Chunk> {
        let Some(holder) = self.holder.clone() else { return self.output.next(Wanted::BOTH).await };
        loop {
            tokio::select! {
                chunk = self.output.next(Wanted::BOTH) => return chunk,
                exit = self.control.wait(), if self.exit.is_none() => {
                    // A sandbox that has ended has neither.
                    self.exit = exit.ok();
                    let _ = holder.close_stdin().await;
                    self.exit?;
                }
                () = cut.cancelled(), if self.exit.is_some() => {
                    let _ = holder.signal(SIGKILL).await;
                    return self.output.next(Wanted::BOTH).await;
                }
            }
        }
    }
}
