//! What a sandbox uses, looked up inside it.

use std::str::FromStr;

use computesdk::error::{Error, ErrorKind, Result};

use crate::control::sandboxes::{CPUS, MEMORY_MB};
use crate::sandbox::Sandbox;

/// What a sandbox uses.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Processors that it has.
    pub cpu_count: u32,
    /// How much of one its processes have used, of the time that they have run.
    pub cpu_used_pct: f64,
    /// Bytes of memory that its processes hold.
    pub mem_used: u64,
    /// Bytes of memory that it may have.
    pub mem_total: u64,
    /// Bytes that its files take.
    pub disk_used: u64,
    /// Bytes that its files may take.
    pub disk_total: u64,
}

/// Pages of memory; ticks of processor time, and those since the oldest began; bytes of files, used and in all.
const LOOK: &str = r#"
cat /proc/[0-9]*/statm 2>/dev/null | awk '{ pages += $2 } END { print pages + 0 }'
cat /proc/[0-9]*/stat 2>/dev/null | sed 's/^.*) //' | awk -v up="$(cut -d' ' -f1 /proc/uptime)" '
    { ticks += $12 + $13; if (!oldest || $20 < oldest) oldest = $20 }
    END { print ticks + 0; print up * 100 - oldest }'
df -B1 --output=used,size /home/user | tail -1 | awk '{ print $1; print $2 }'
"#;

impl Usage {
    /// What a sandbox uses now.
    pub async fn of(sandbox: &Sandbox) -> Result<Self> {
        let printed = sandbox.output(&["/bin/sh", "-c", LOOK]).await?;
        let text = String::from_utf8_lossy(&printed.stdout);
        let mut lines = text.lines();
        let pages: u64 = number(lines.next())?;
        let ticks: f64 = number(lines.next())?;
        let since: f64 = number(lines.next())?;
        Ok(Self {
            cpu_count: CPUS,
            cpu_used_pct: (ticks / since.max(1.0) * 10_000.0).round() / 100.0,
            mem_used: pages * 4096,
            mem_total: MEMORY_MB << 20,
            disk_used: number(lines.next())?,
            disk_total: number(lines.next())?,
        })
    }
}

fn number<T: FromStr>(line: Option<&str>) -> Result<T> {
    let number = line.and_then(|line| line.trim().parse().ok());
    number.ok_or_else(|| Error::new(ErrorKind::Internal, "the sandbox does not tell what it uses"))
}
