//! The agent: the program that makes local sandboxes and lives in them, and lives in containers.
//!
//! One program, four roles. The core starts it once for each Node process, as the **broker**; the broker
//! makes each sandbox by a clone of itself, and that clone becomes the sandbox's **process 1**. Nothing is
//! ever forked from the Node process, and no program file is needed on the disk.
//!
//! In a container it is process 1 from the start, the **resident**, as `agent resident`; and each core that has to do
//! with that container has the engine start `agent connect` in there, the **relay**, which carries bytes between the
//! core's one connection and the descriptors that process 1 hands out.
//!
//! In reading order:
//!
//! * [`broker`] – waits for requests, clones, watches for ends. Single-threaded.
//! * [`living`] – the sandboxes that run; [`spares`] – those that are made in advance.
//! * [`stage`] – what all sandboxes share, made once: the files of /etc, the devices.
//! * [`identity`] – user namespaces and ranges of user ids.
//! * [`host`] – the directories of the host that a sandbox sees.
//! * [`lent`], [`owners`] – what its user lends it besides, and whose that is inside.
//! * [`layers`], [`keep`] – what was kept of sandboxes, for others to be made from.
//! * [`cgroups`] – limits for a sandbox as a whole; [`kills`] – how often memory was not enough.
//! * [`sandbox`] – the steps from a fresh clone to an isolated process 1, in order.
//! * [`mounts`], [`rootfs`], [`way`], [`privileges`], [`seccomp`] – the steps themselves.
//! * [`pid1`] – the loop of process 1: reaps, answers requests.
//! * [`links`] – who asks it; [`life`] – how long, where it is the one to end it.
//! * [`spawn`] over [`streams`] and [`guard`], [`files`], [`rename`], [`jobs`], [`ports`] – what it is asked for.
//! * [`warm`] – interpreters that are up before there is code for them.
//! * [`copy`], [`place`], [`tree`] – what becomes of trees of files.
//! * [`usage`] – what a sandbox uses.
//! * [`resident`], [`relay`] – the roles in a container.
//!
//! The messages are in `protocol`, in the library half of this crate.

#[cfg(not(target_os = "linux"))]
compile_error!("sandboxes on this machine are made by Linux' namespaces: there is no agent elsewhere");

mod broker;
mod cgroups;
mod copy;
mod files;
mod guard;
mod host;
mod identity;
mod jobs;
mod keep;
mod kills;
mod layers;
mod lent;
mod life;
mod links;
mod living;
mod mounts;
mod owners;
mod pid1;
mod place;
mod ports;
mod privileges;
mod relay;
mod rename;
mod resident;
mod rootfs;
mod sandbox;
mod seccomp;
mod spares;
mod spawn;
mod stage;
mod step;
mod streams;
mod tree;
mod usage;
mod warm;
mod way;

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next();
    match next().as_deref() {
        None => broker::run(),
        Some("resident") => resident::run(next().as_deref(), next().as_deref()),
        Some("connect") => relay::run(),
        Some(_) => std::process::ExitCode::from(2),
    }
}
