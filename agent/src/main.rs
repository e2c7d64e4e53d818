//! The agent: the program that makes local sandboxes and lives in them.
//!
//! One program, two roles. The core starts it once for each Node process, as the **broker**; the broker
//! makes each sandbox by a clone of itself, and that clone becomes the sandbox's **process 1**. Nothing is
//! ever forked from the Node process, and no program file is needed on the disk.
//!
//! In reading order:
//!
//! * [`broker`] – waits for requests, clones, watches for ends. Single-threaded.
//! * [`spares`] – sandboxes that are made in advance.
//! * [`stage`] – what all sandboxes share, made once: the files of /etc, the devices.
//! * [`identity`] – user namespaces and ranges of user ids.
//! * [`host`] – the directories of the host that a sandbox sees.
//! * [`lent`], [`owners`] – what its user lends it besides, and whose that is inside.
//! * [`layers`], [`keep`] – what was kept of sandboxes, for others to be made from.
//! * [`cgroups`] – limits for a sandbox as a whole; [`kills`] – how often memory was not enough.
//! * [`sandbox`] – the steps from a fresh clone to an isolated process 1, in order.
//! * [`mounts`], [`rootfs`], [`way`], [`privileges`], [`seccomp`] – the steps themselves.
//! * [`pid1`] – the loop of process 1: reaps, answers requests.
//! * [`spawn`] over [`streams`] and [`guard`], [`files`], [`rename`], [`jobs`], [`ports`] – what it is asked for.
//! * [`warm`] – interpreters that are up before there is code for them.
//! * [`copy`], [`place`], [`tree`] – what becomes of trees of files.
//! * [`usage`] – what a sandbox uses.
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
mod mounts;
mod owners;
mod pid1;
mod place;
mod ports;
mod privileges;
mod rename;
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
    broker::run()
}
