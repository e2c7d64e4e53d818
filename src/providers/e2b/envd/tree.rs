//! Everything that came of a process: found in the sandbox, signalled, waited for.
//!
//! envd signals the process that it started and nothing else. So that children are found however far they have gone,
//! each command has a mark of its own in its environment, which they inherit.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::Envd;
use super::error::nonsense;
use super::script::As;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::Exit;

/// Scripts that kill at once: while one does, those who come wait together for the other.
const KILLERS: usize = 2;
/// Whom one of them kills at most: their marks are one argument.
const AT_ONCE: usize = 1000;

/// What is to be killed, and has not been yet.
#[derive(Debug)]
pub(super) struct Waiting {
    doomed: Mutex<Vec<Doomed>>,
    turns: Semaphore,
}

#[derive(Debug)]
struct Doomed {
    mark: String,
    running: Option<u32>,
    told: oneshot::Sender<Result<()>>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { doomed: Mutex::default(), turns: Semaphore::new(KILLERS) }
    }
}

impl Waiting {
    fn add(&self, doomed: Doomed) {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner).push(doomed);
    }

    /// Those that have waited longest. For each, somebody asks once.
    fn take(&self) -> Vec<Doomed> {
        let mut doomed = self.doomed.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = doomed.len().min(AT_ONCE);
        doomed.drain(..taken).collect()
    }
}

/// The variable with the mark.
pub(super) const MARK: &str = "COMPUTESDK_RUN";

/// Finds what carries one of the marks `$mark`, each in a line, the processes `$first` if some are given, and all that
/// came of those, but not what is dead already: `$found`, with a blank before and after each.
const FIND: &str = r#"
find_all() {
  found=' '
  table=$(grep -sE '^(State|PPid):' /proc/[0-9]*/status | tr '\t' ' ')
  for file in $(grep -lsF "$mark" /proc/[0-9]*/environ); do
    pid=${file#/proc/}; found="$found${pid%/environ} "
  done
  [ -z "$first" ] || found="$found$first "
  alive=' ' pairs= pid= dead=
  set -f
  while IFS=': ' read -r file key value rest; do
    pid=${file#/proc/}; pid=${pid%/status}
    case $key in
      State) case $value in Z|X|x) dead=$pid;; *) alive="$alive$pid "; esac;;
      PPid) [ "$pid" = "$dead" ] || pairs="$pairs $pid:$value";;
    esac
  done <<END
$table
END
  more=1
  while [ "$more" ]; do
    more=
    for pair in $pairs; do
      pid=${pair%:*} parent=${pair#*:}
      case $found in *" $pid "*) continue;; esac
      case $found in *" $parent "*) found="$found$pid " more=1;; esac
    done
  done
  set +f
  there=' '
  for pid in $found; do
    case $alive in *" $pid "*) case $there in *" $pid "*) ;; *) there="$there$pid "; esac; esac
  done
  found=$there
}
"#;

/// Kills all that came of the processes `$2` and of those with a mark of `$1`: what may start others is stopped first,
/// until nobody is left who does.
const KILL: &str = r#"
mark=$1 first=$2
turn=0
while [ $turn -lt 100 ]; do
  turn=$((turn+1))
  stopped=' '
  while :; do
    find_all
    new=
    for pid in $found; do
      case $stopped in *" $pid "*) ;; *) kill -STOP $pid 2>/dev/null; stopped="$stopped$pid " new=1; esac
    done
    [ "$new" ] || break
  done
  [ "$found" = ' ' ] && exit 0
  kill -KILL $found 2>/dev/null
  first=
  sleep 0.02 2>/dev/null || sleep 1
done
exit 1
"#;

/// Hangs up: a terminal's session `$2`, whose number is that of its first process; says so, and waits until nothing is
/// left that has the mark `$1`. The first process counts by its mark alone: its number may be another's when it has ended.
const HANG_UP: &str = r#"
mark=$1 first= session=$2
for file in $(grep -lsE "^NSsid:[[:space:]]*$session([[:space:]]|\$)" /proc/[0-9]*/status); do
  pid=${file#/proc/}; pid=${pid%/status}
  kill -HUP $pid 2>/dev/null; kill -CONT $pid 2>/dev/null
done
echo told
while find_all; [ "$found" != ' ' ]; do sleep 0.05 2>/dev/null || sleep 1; done
"#;

/// Sends signal `$1` to process `$2`.
const SIGNAL: &str =
    r#"kill -s "$1" "$2" 2>/dev/null || kill -"$1" "$2" 2>/dev/null || ! kill -0 "$2" 2>/dev/null"#;

impl Envd {
    /// Kills all that came of a process, and it itself as long as it is known to run. Once begun, it goes on without its
    /// caller.
    pub(super) async fn kill_tree(&self, mark: &str, running: Option<u32>) -> Result<()> {
        let (told, answer) = oneshot::channel();
        self.0.doomed.add(Doomed { mark: mark.to_owned(), running, told });
        let envd = self.clone();
        tokio::spawn(async move { envd.kill_doomed().await });
        answer.await.unwrap_or_else(|_| Err(nonsense("a kill was not answered")))
    }

    /// Kills all that is to be killed by now: looking through all processes takes as long for many as for one.
    async fn kill_doomed(&self) {
        let Ok(_turn) = self.0.doomed.turns.acquire().await else { return };
        let doomed = self.0.doomed.take();
        let killed = match doomed.is_empty() {
            true => Ok(()),
            false => self.kill_all(&doomed).await,
        };
        match killed {
            // One of them may have kept it from the others.
            Err(_) if doomed.len() > 1 => {
                for one in doomed {
                    let killed = self.kill_all(std::slice::from_ref(&one)).await;
                    let _ = one.told.send(killed);
                }
            }
            killed => {
                for one in doomed {
                    let _ = one.told.send(killed.as_ref().copied().map_err(Error::copy));
                }
            }
        }
    }

    async fn kill_all(&self, doomed: &[Doomed]) -> Result<()> {
        let marks: Vec<&str> = doomed.iter().map(|one| one.mark.as_str()).collect();
        let first: Vec<String> = doomed.iter().filter_map(|one| Some(one.running?.to_string())).collect();
        let args = [marks.join("\n"), first.join(" ")];
        let ran = self.run(As::Root, &format!("{FIND}{KILL}"), &[&args[0], &args[1]]).await?;
        match ran.exit {
            Exit::Code(0) => Ok(()),
            _ => Err(Error::new(ErrorKind::Unavailable, "what was killed has not ended")),
        }
    }

    /// Tells everything in a terminal's session that it is gone, and waits until nothing is left, or for this long.
    pub(super) async fn hang_up_tree(
        &self,
        mark: &str,
        pid: u32,
        running: bool,
        grace: Duration,
    ) -> Result<()> {
        let session = if running { pid.to_string() } else { "-".to_owned() };
        let mut telling = self.script(As::Root, &format!("{FIND}{HANG_UP}"), &[mark, &session]).await?;
        telling.next().await?;
        let waiting = async {
            while telling.next().await?.is_some() {}
            Ok(())
        };
        timeout(grace, waiting).await.unwrap_or(Ok(()))
    }

    /// Sends a signal to a process that runs.
    pub(super) async fn send_signal(&self, signal: i32, pid: u32) -> Result<()> {
        let ran = self.run(As::Root, SIGNAL, &[&signal.to_string(), &pid.to_string()]).await?;
        match ran.exit {
            Exit::Code(0) => Ok(()),
            _ => Err(Error::invalid(format!("signal {signal} cannot be sent"))),
        }
    }
}
