//! A root made of a folder of the host's: below a layer that takes what the sandbox writes, and that has what every
//! sandbox has.
//!
//! The folder is a stranger's as much as what runs in it: any name there may be a link, to anywhere. So all that the
//! following steps go through before the root is the root is made in the layer, where it hides what has its name below.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use computesdk_agent::own::is_own;
use computesdk_agent::protocol::Lent;

use crate::files::{self, open_regular};
use crate::identity::USER;
use crate::layers;
use crate::lent::step;
use crate::mounts;
use crate::stage::{self, BOX, ETC};
use crate::step::{Result, Step};

/// Where the layer is that becomes the root.
pub const UPPER: &str = "/upper/root";

/// Files of /etc that say what holds in this sandbox, whatever the folder's own say.
const OURS: [&str; 4] = ["hosts", "hostname", "resolv.conf", "machine-id"];

/// The most that a list of accounts may hold.
const ACCOUNTS: u64 = 1 << 20;

/// Mounts the folder below the layer as the root, in which these hosts have a name too; and between them, what was kept
/// of sandboxes that had this root.
pub fn lay(lent: &Lent, tree: &OwnedFd, names: &[(String, String)], kept: &[String]) -> Result<()> {
    let [lower, upper, work, root] =
        ["/lower/root", UPPER, "/work/root", "/root"].map(|path| format!("{BOX}{path}"));
    if !kept.is_empty() {
        fs::create_dir(format!("{upper}/etc")).step("make /etc")?;
    }
    for name in OURS {
        fs::copy(format!("{ETC}/{name}"), format!("{upper}/etc/{name}")).step("make /etc")?;
    }
    if !names.is_empty() {
        fs::write(format!("{upper}/etc/hosts"), stage::hosts(names)).step("make /etc")?;
    }
    // What a user installs for everybody goes here, as on any machine.
    for name in ["bin", "lib", "share"].into_iter().filter(|_| kept.is_empty()) {
        fs::create_dir_all(format!("{upper}/usr/local/{name}")).step("make directories")?;
    }
    for path in [&lower, &work] {
        fs::create_dir_all(path).step("make directories")?;
    }
    mounts::attach(tree, &lower).step(step(lent, "mount it"))?;
    if let Some(uppermost) = layers::of(kept, "root").next() {
        layers::adopt(&uppermost, &upper).step("make directories")?;
    }
    let lowers: Vec<String> = layers::of(kept, "root").chain([lower]).collect();
    mounts::overlay(&lowers.join(":"), &upper, &work, &root).step(step(lent, "mount an overlay on it"))
}

/// Makes what the folder lacks and programs expect. The folder must be the root by now.
pub fn furnish(lent: &Lent) -> Result<()> {
    let user = format!("user:x:{USER}:{USER}:user:/home/user:/bin/sh\n");
    add("/etc/passwd", &user).step(step(lent, "make /etc/passwd"))?;
    add("/etc/group", &format!("user:x:{USER}:\n")).step(step(lent, "make /etc/group"))?;
    let programs = ["/usr/local/bin", "/usr/bin", "/bin"];
    let find = |name| {
        programs.map(|directory| format!("{directory}/{name}")).into_iter().find(|path| is_there(path))
    };
    if let (Some(python3), None) = (find("python3"), find("python")) {
        // Whatever may have that name is the folder's own affair.
        let _ = symlink(python3, "/usr/local/bin/python");
    }
    Ok(())
}

fn is_there(path: &str) -> bool {
    Path::new(path).exists()
}

/// Adds an account to a list, unless its number is in there.
fn add(path: &str, account: &str) -> std::io::Result<()> {
    let mut list = String::new();
    // A link may lead to what is not the folder's, or is nobody's to read.
    if let Ok((file, stat)) = open_regular(path)
        && is_own(&file)?
        && stat.st_mode & 0o004 != 0
    {
        // What is no text is no list of accounts.
        let _ = fs::File::from(file).take(ACCOUNTS).read_to_string(&mut list);
    }
    let number = USER.to_string();
    if list.lines().any(|line| line.split(':').nth(2) == Some(number.as_str())) {
        return Ok(());
    }
    if !list.is_empty() && !list.ends_with('\n') {
        list.push('\n');
    }
    list.push_str(account);
    // In place of what has the name, be it a link, and in a directory that is ours.
    let fresh = format!("{path}-{}", files::hidden_name()?);
    fs::write(&fresh, &list)?;
    fs::rename(&fresh, path)
}
