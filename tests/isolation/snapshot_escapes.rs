//! What a sandbox has planted in what is kept of it, or swaps meanwhile, leads the next one nowhere.

use std::fs;

use computesdk::command::RunOptions;
use computesdk::provider::{Command, CreateRequest, Mount, MountMode, Program};

use crate::harness::{At, Case, cases, sh};
use crate::snapshots::Made;
use crate::{CANARY, Planted, all_output, python};

pub(super) const CASES: &[Case] = cases![
    links_that_were_planted_lead_nowhere if snapshots,
    what_an_overlay_obeys_is_not_taken_from_a_sandbox if snapshots,
    what_is_swapped_while_it_is_kept_leads_nowhere if snapshots,
];

/// Every name that is gone through when a sandbox is made is a link to the host.
async fn links_that_were_planted_lead_nowhere(at: At) {
    let mut made = Made::at(&at);
    let host = Planted::new();
    fs::create_dir(format!("{}/bin", host.path())).unwrap();
    let one = at.sandbox().await;
    let planted = host.path();
    let line = format!(
        "cd /; for name in opt home media mnt srv run tmp var workspace sys sbin; do \
           mv $name moved-$name; ln -s {planted} $name; done; \
         for name in bin lib share games include sbin; do rm -rf /usr/local/$name; ln -s {planted} /usr/local/$name; done; \
         rm -rf /usr/local/lib /etc/hosts /etc/ssl /etc/passwd; ln -s {planted}/hosts /etc/hosts; \
         ln -s ../../../../../../../..{planted} /etc/ssl; mkdir -p /moved-opt/x; ln -s / /usr/src2; true"
    );
    assert_eq!(all_output(&one, line).await.matches("No space").count(), 0);
    let id = made.keep(&one).await;
    let mounts = vec![Mount {
        source: planted.to_owned(),
        target: "/mnt/deep/place".to_owned(),
        mode: MountMode::ReadOnly,
        force: true,
    }];
    for mounts in [Vec::new(), mounts] {
        let request = CreateRequest { template_id: Some(id.clone()), mounts, ..CreateRequest::default() };
        let below_a_link = !request.mounts.is_empty();
        let two = match made.create(request).await {
            // What is lent has no place below a link that leads to nothing in there.
            Err(error) if below_a_link => {
                assert!(error.message().contains("/mnt/deep/place"), "{error}");
                continue;
            }
            two => two.unwrap(),
        };
        let line = "echo x > /usr/local/bin/x; echo x > /opt/x; /bin/ls -d /opt /dev/null /proc/self; /bin/ls -R /opt/ /home/ /mnt /";
        let program = Program::Args(["/bin/sh", "-c", line].map(str::to_owned).into());
        let command = Command { program, cwd: Some("/".to_owned()), ..Command::default() };
        let seen = two.run_command(command, RunOptions::default()).await.unwrap();
        assert!(!seen.stdout.contains(CANARY) && seen.stdout.contains("/dev/null"), "{seen:?}");
        made.sandboxes.push(two);
    }
    host.assert_untouched_but(&["bin"]);
    assert_eq!(fs::read_dir(format!("{planted}/bin")).unwrap().count(), 0);
    made.clear(vec![one]).await;
}

async fn what_an_overlay_obeys_is_not_taken_from_a_sandbox(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    let source = "import os, stat
plants = {'user.overlay.opaque': [b'y', b'x'], 'user.overlay.redirect': [b'/etc', b'../../etc', b'below'],
  'user.overlay.metacopy': [b'', b'x' * 4], 'user.overlay.whiteout': [b'y'], 'user.overlay.origin': [b'x' * 20],
  'user.overlay.overlay.opaque': [b'y'], 'user.overlay.overlay.redirect': [b'/etc'], 'user.mine': [b'mine'],
  'trusted.overlay.opaque': [b'y'], 'trusted.overlay.redirect': [b'/etc'], 'security.capability': [b'x' * 20]}
number = planted = 0
for top in ('/app', '/home/user', '/usr/local/lib', '/etc'):
  for name, values in plants.items():
    for value in values:
      for directory in (True, False):
        number += 1
        path = f'{top}/plant{number}'
        if not os.path.exists(path):
          if directory:
            os.makedirs(path + '/below')
          os.makedirs(os.path.dirname(path), exist_ok=True)
          if not directory:
            open(path, 'w').write('below')
        try:
          os.setxattr(path, name, value)
          planted += 1
        except OSError:
          pass
  try:
    os.mknod(top + '/hole', 0o600 | stat.S_IFCHR, 0)
  except OSError:
    pass
";
    let look = "import os
found = []
for top in ('/app', '/home/user', '/usr/local/lib', '/etc'):
  for name in sorted(os.listdir(top)):
    path = f'{top}/{name}'
    if not name.startswith('plant'): continue
    found.append(path)
    assert os.listdir(path) == ['below'] if os.path.isdir(path) else open(path).read() == 'below', path
    assert not [one for one in os.listxattr(path) if 'overlay' in one] or KEPT, (path, os.listxattr(path))
print(len(found))
";
    python(&one, source).await;
    let before = python(&one, &look.replace("KEPT", "True")).await;
    let two = made.copy_of(&one).await;
    assert_eq!(python(&two, &look.replace("KEPT", "False")).await, before);
    // Its root is an overlay: now from above what was kept.
    python(&two, source).await;
    let three = made.copy_of(&two).await;
    assert_eq!(python(&three, &look.replace("KEPT", "False")).await, before);
    made.clear(vec![one, two, three]).await;
}

async fn what_is_swapped_while_it_is_kept_leads_nowhere(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    let source = "import os, subprocess, sys
code = '''
import os
os.makedirs(\"/app/d/a/b/c\", exist_ok=True)
open(\"/app/file\", \"w\").write(\"x\" * 100000)
while True:
  try:
    os.rename(\"/app/d/a/b\", \"/app/moved\")
    os.symlink(\"/etc\", \"/app/d/a/b\")
    os.symlink(\"/etc/passwd\", \"/app/link\")
    os.rename(\"/app/link\", \"/app/file\")
    os.mkfifo(\"/app/pipe\")
    os.rename(\"/app/pipe\", \"/app/file\")
    open(\"/app/new\", \"w\").write(\"x\" * 100000)
    os.rename(\"/app/new\", \"/app/file\")
    os.unlink(\"/app/d/a/b\")
    os.rename(\"/app/moved\", \"/app/d/a/b\")
  except FileExistsError: pass
'''
subprocess.Popen([sys.executable, '-c', code], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for a in range(40):
  os.makedirs(f'/app/many/{a}/x')
  for b in range(20): open(f'/app/many/{a}/x/{b}', 'w').write('x' * 1000)
";
    python(&one, source).await;
    let mut copies = Vec::new();
    for _ in 0..12 {
        let two = made.copy_of(&one).await;
        let seen =
            sh(&two, "find /app/many -type f | wc -l; find /app -xdev | wc -l; test -p /app/file || head -c 5 /app/file")
                .await;
        let counts: Vec<u32> = seen.stdout.lines().take(2).map(|line| line.trim().parse().unwrap()).collect();
        assert!(counts[0] == 800 && counts[1] < 900, "{seen:?}");
        copies.push(two);
    }
    copies.push(one);
    made.clear(copies).await;
}
