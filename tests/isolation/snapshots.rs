//! What is kept of sandboxes: all of what they wrote, and nothing else; within bounds, whatever they do meanwhile; and
//! nothing that a stranger has planted there leads the next sandbox anywhere.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use computesdk::command::RunOptions;
use computesdk::compute;
use computesdk::error::{Error, ErrorKind};
use computesdk::provider::{Command, CreateRequest, Mount, MountMode, Network, Program, Resources, Snapshot};
use computesdk::providers::local::{Config, Local, Template};
use computesdk::sandbox::Sandbox;

use crate::harness::{At, Case, Lent, cases, sh};
use crate::templates::busybox_root;
use crate::{CANARY, Planted, all_output, python};

pub(super) const CASES: &[Case] = cases![
    what_was_written_is_kept_as_it_is if snapshots,
    names_that_are_no_text_are_kept if snapshots,
    what_belongs_to_who_runs_is_not_kept if snapshots,
    what_was_removed_of_the_hosts_is_removed_in_what_comes_of_it if snapshots,
    what_hides_a_directory_hides_it_in_what_comes_of_it if snapshots,
    packages_that_were_installed_are_there if snapshots,
    a_disk_is_for_what_a_sandbox_changes if snapshots,
    snapshots_of_a_folder_that_is_a_root_stand_on_it if snapshots,
    snapshots_of_another_python_have_it if snapshots,
    what_was_lent_is_not_kept if snapshots,
    hosts_that_had_a_name_have_none_in_what_comes_of_it if snapshots,
    links_that_were_planted_lead_nowhere if snapshots,
    what_an_overlay_obeys_is_not_taken_from_a_sandbox if snapshots,
    what_is_swapped_while_it_is_kept_leads_nowhere if snapshots,
    a_sandbox_that_writes_without_end_is_kept_all_the_same if snapshots,
    ten_thousand_levels_are_kept if snapshots,
    a_file_that_claims_to_be_huge_takes_no_memory if snapshots,
    what_there_is_no_room_for_is_refused_and_takes_none if snapshots,
    many_tiny_files_are_refused_where_there_is_no_room if snapshots,
    snapshots_of_snapshots_end_where_the_kernel_would if snapshots,
    a_snapshot_that_is_not_there_is_told_with_those_that_are if snapshots,
    a_name_is_checked_and_an_id_cannot_be_guessed if snapshots,
];

/// What the case made, and lets go of at its end.
struct Made {
    at: At,
    snapshots: Vec<Snapshot>,
    sandboxes: Vec<Lent>,
}

impl Made {
    fn at(at: &At) -> Self {
        Self { at: at.clone(), snapshots: Vec::new(), sandboxes: Vec::new() }
    }

    fn of(config: Config) -> Self {
        Self::at(&At(Arc::new(Local::new(config)), &[]))
    }

    async fn sandbox(&self) -> Lent {
        self.at.sandbox().await
    }

    async fn keep(&mut self, sandbox: &Sandbox) -> String {
        self.snapshots.push(sandbox.snapshot(None).await.unwrap());
        self.snapshots.last().unwrap().id.clone()
    }

    /// A sandbox of what another is now.
    async fn copy_of(&mut self, sandbox: &Sandbox) -> Lent {
        let id = self.keep(sandbox).await;
        self.create(CreateRequest { template_id: Some(id), ..CreateRequest::default() }).await.unwrap()
    }

    async fn create(&self, request: CreateRequest) -> Result<Lent, Error> {
        compute::create_at(&self.at.0, &request, false).await.map(Lent::of)
    }

    /// Ends everything.
    async fn clear(mut self, others: Vec<Lent>) {
        self.sandboxes.extend(others);
        for sandbox in &self.sandboxes {
            sandbox.destroy().await.unwrap();
        }
        for snapshot in &self.snapshots {
            compute::delete_snapshot_at(&self.at.0, &snapshot.id).await.unwrap();
        }
    }
}

async fn what_was_written_is_kept_as_it_is(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    let line = "mkdir -p /app/empty ~/private && echo app > /app/file && chmod 4755 /app/file && chmod 700 ~/private \
        && echo x > ~/private/none && chmod 000 ~/private/none && ln /app/file /app/again && ln -s nowhere /app/link \
        && mkfifo -m 640 /app/pipe && touch -d @1000000001.123456789 /app/file && touch -d @1000000002 /app/empty \
        && truncate -s 8M /app/sparse && echo end >> /app/sparse && echo tmp > /tmp/file && echo var > /var/tmp/file \
        && chmod 2770 /app/empty && chmod 1777 /mnt && chmod 751 / && rmdir /media && echo usr > /usr/local/lib/file \
        && echo etc > /etc/file && chmod 600 /etc/file && mkdir -p /usr/src/app && echo src > /usr/src/app/file && touch -h -d @1000000003 /app/link";
    assert_eq!(sh(&one, line).await.stderr, "");
    let look = "for path in / /app /app/* ~/private ~/private/none /app/pipe /mnt /tmp/file /etc/file; do \
        stat -c '%n %F %a %u:%g %h %s %y' $path | sed 's,^/app/file \\(.*\\) 4755,/app/file \\1 755,; \
        s,^/app/again \\(.*\\) 4755,/app/again \\1 755,' | sed '/directory/s/ [0-9]* \\(20[0-9-]* \\)/ \\1/'; done; \
        cat /app/file /tmp/file /var/tmp/file /usr/local/lib/file /etc/file /usr/src/app/file; ls /usr/src; tail -c 4 /app/sparse; readlink /app/link; \
        ls /; stat -c %b /app/sparse; chmod 600 ~/private/none && cat ~/private/none; chmod 000 ~/private/none";
    let without_root_time = |text: String| {
        let lines = text.lines().filter(|line| !line.starts_with("/ ")).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    let before = without_root_time(sh(&one, look).await.stdout);
    let two = made.copy_of(&one).await;
    let three = made.copy_of(&two).await;
    for other in [&two, &three] {
        let seen = sh(other, look).await;
        assert_eq!(without_root_time(seen.stdout.clone()), before, "{seen:?}");
        let line = "stat -c %a /; [ /app/file -ef /app/again ] && echo one; echo x > /top && echo writable; \
                    stat -c %a /app/file";
        assert_eq!(sh(other, line).await.stdout, "751\none\nwritable\n755\n");
    }
    made.clear(vec![one, two, three]).await;
}

async fn names_that_are_no_text_are_kept(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    let source = "import os, hashlib
def told():
  seen = sorted(os.walk(b'/app'))
  return hashlib.sha256(repr([(a, sorted(b), sorted(c)) for a, b, c in seen]).encode()).hexdigest(), len(seen)
os.makedirs(b'/app', exist_ok=True)
";
    let make = "for name in (b'new\\nline', b'\\xff\\xfe', b'  ', b'-rf', b'\\x1b[2J', b'x' * 255, b'\\\\', b'a:b,c'):
  os.makedirs(b'/app/' + name + b'/' + name)
  open(b'/app/' + name + b'/file' , 'w').write('x')
";
    let before = python(&one, &format!("{source}{make}print(told())")).await;
    let two = made.copy_of(&one).await;
    assert_eq!(python(&two, &format!("{source}print(told())")).await, before);
    made.clear(vec![one, two]).await;
}

async fn what_belongs_to_who_runs_is_not_kept(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    let source = "import os, socket, subprocess
subprocess.Popen(['sleep', '4712'], start_new_session=True)
open('/dev/shm/memory', 'w').write('x')
socket.socket(socket.AF_UNIX).bind('/tmp/socket')
";
    python(&one, source).await;
    let two = made.copy_of(&one).await;
    let seen =
        sh(&two, "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 4712'; ls -A /dev/shm /tmp").await;
    assert!(!seen.stdout.contains("memory") && !seen.stdout.contains("socket"), "{seen:?}");
    assert!(sh(&one, "ls /dev/shm /tmp; pgrep -f 'sleep 4712' || true").await.stdout.contains("memory"));
    made.clear(vec![one, two]).await;
}

async fn what_was_removed_of_the_hosts_is_removed_in_what_comes_of_it(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    let removed =
        sh(&one, "rm /etc/hostname /etc/passwd && ls /etc | grep -c . && ls /usr | grep -c .").await;
    assert_eq!(removed.exit_code, 0, "{removed:?}");
    let two = made.copy_of(&one).await;
    let look = "ls /etc/hostname /etc/passwd; ls /etc | grep -c . && ls /usr | grep -c .";
    assert_eq!(sh(&two, look).await.stdout, removed.stdout);
    // What was below is not seen through what was made in its place.
    sh(&two, "mkdir /etc/passwd && echo x > /etc/hostname").await;
    let three = made.copy_of(&two).await;
    assert_eq!(sh(&three, "ls -A /etc/passwd; cat /etc/hostname").await.stdout, "x\n");
    assert!(sh(&one, "cat /usr/bin/env | head -c 4").await.stdout.contains("ELF"));
    made.clear(vec![one, two, three]).await;
}

async fn what_hides_a_directory_hides_it_in_what_comes_of_it(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    sh(&one, "mkdir -p ~/d/below ~/kept/below && touch ~/d/one ~/d/below/one ~/kept/one").await;
    let two = made.copy_of(&one).await;
    let hidden =
        sh(&two, "rm -r ~/d && mkdir ~/d && touch ~/d/two ~/kept/two && rm ~/kept/one && ls -R ~/d ~/kept")
            .await;
    assert_eq!(hidden.exit_code, 0, "{hidden:?}");
    let three = made.copy_of(&two).await;
    assert_eq!(sh(&three, "ls -R ~/d ~/kept").await.stdout, hidden.stdout);
    sh(&three, "rm -r ~/kept; echo file > ~/kept").await;
    let four = made.copy_of(&three).await;
    assert_eq!(sh(&four, "cat ~/kept; ls ~/d").await.stdout, "file\ntwo\n");
    // A directory that is below cannot be renamed by the kernel; it is all the same.
    let files = four.filesystem();
    sh(&four, "mkdir -p ~/new/below && touch ~/new/below/file").await;
    let five = made.copy_of(&four).await;
    five.filesystem().rename("/home/user/new", "/home/user/renamed").await.unwrap();
    files.rename("/home/user/new", "/home/user/renamed").await.unwrap();
    for sandbox in [&four, &five] {
        assert_eq!(sh(sandbox, "ls ~/renamed/below ~/new").await.stdout, "/home/user/renamed/below:\nfile\n");
    }
    assert_eq!(
        sh(&five, "mv ~/renamed ~/again && mv ~/d /tmp/d && ls ~/again/below /tmp/d").await.exit_code,
        0
    );
    made.clear(vec![one, two, three, four, five]).await;
}

async fn packages_that_were_installed_are_there(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    let wheel = "import zipfile
files = {'greeting/__init__.py': 'text = \"installed\"\\n', 'greeting/data.txt': 'data',
  'greeting-1.0.dist-info/METADATA': 'Metadata-Version: 2.1\\nName: greeting\\nVersion: 1.0\\n',
  'greeting-1.0.dist-info/entry_points.txt': '[console_scripts]\\ngreet = greeting:main\\n',
  'greeting-1.0.dist-info/WHEEL': 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'}
files['greeting-1.0.dist-info/RECORD'] = ''.join(f'{name},,\\n' for name in files)
with zipfile.ZipFile('/tmp/greeting-1.0-py3-none-any.whl', 'w') as wheel:
  for name, text in files.items(): wheel.writestr(name, text)
";
    python(&one, wheel).await;
    let installed =
        sh(&one, "python3 -m pip install --no-index --quiet /tmp/greeting-1.0-py3-none-any.whl").await;
    if installed.stderr.contains("No module named pip") {
        return;
    }
    assert_eq!(installed.exit_code, 0, "{installed:?}");
    let two = made.copy_of(&one).await;
    assert_eq!(python(&two, "import greeting; print(greeting.text)").await, "installed\n");
    let upgraded = sh(
        &two,
        "python3 -m pip install --no-index --quiet --force-reinstall \
                             /tmp/greeting-1.0-py3-none-any.whl && python3 -c 'import greeting; print(1)'",
    )
    .await;
    assert_eq!(upgraded.stdout, "1\n", "{upgraded:?}");
    made.clear(vec![one, two]).await;
}

async fn a_disk_is_for_what_a_sandbox_changes(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    sh(&one, "head -c 6000000 /dev/urandom > ~/large").await;
    let id = made.keep(&one).await;
    let resources = Resources { disk: Some(4 << 20), memory: Some(64 << 20), ..Resources::default() };
    let request = CreateRequest { template_id: Some(id), resources, ..CreateRequest::default() };
    let two = made.create(request).await.unwrap();
    let metrics = two.metrics().await.unwrap();
    assert!(metrics.disk < 1 << 20 && metrics.disk_total == 4 << 20, "{metrics:?}");
    let full = sh(&two, "stat -c %s ~/large; head -c 5000000 /dev/zero > ~/more; stat -c %s ~/more").await;
    let sizes: Vec<u64> = full.stdout.lines().map(|line| line.parse().unwrap()).collect();
    assert!(sizes[0] == 6_000_000 && sizes[1] < 4 << 20, "{full:?}");
    made.clear(vec![one, two]).await;
}

async fn snapshots_of_a_folder_that_is_a_root_stand_on_it(_: At) {
    let planted = Planted::new();
    let root = busybox_root(&planted);
    let templates = BTreeMap::from([("tiny".to_owned(), Template::Rootfs(root.clone()))]);
    let mut made = Made::of(Config { templates, ..Config::default() });
    let tiny = CreateRequest { template_id: Some("tiny".to_owned()), ..CreateRequest::default() };
    let one = made.create(tiny).await.unwrap();
    let line = "echo x > /srv/x; rm /bin/ls /etc/motd; rm -r /lib; mkdir /lib; echo y > /etc/y; echo h > ~/h; \
                rm -r /opt; echo /srv > /etc/hosts; ls /lib";
    assert_eq!(sh(&one, format!("{line}; true")).await.exit_code, 0);
    let two = made.copy_of(&one).await;
    let three = made.copy_of(&two).await;
    for other in [&two, &three] {
        let seen =
            all_output(other, "cat /srv/x /etc/y ~/h; ls /; cat /etc/motd; echo /lib/*; id; cat /etc/hosts")
                .await;
        assert!(seen.contains("x\ny\nh\n") && seen.contains("/lib/*\n"), "{seen}");
        assert!(seen.contains("can't open '/etc/motd'") && seen.contains("uid=1000(user)"), "{seen}");
        assert!(seen.contains("localhost sandbox") && !seen.contains("/srv\n"), "{seen}");
        // Nothing of the machine's programs is there.
        assert_eq!(sh(other, "python3 -V").await.exit_code, 127);
    }
    made.clear(vec![one, two, three]).await;
}

async fn snapshots_of_another_python_have_it(_: At) {
    let Some(path) =
        ["/usr/bin/python3", "/usr/local/bin/python3"].into_iter().find(|path| fs::exists(path).unwrap())
    else {
        return;
    };
    let templates = BTreeMap::from([("other".to_owned(), Template::Python(path.to_owned()))]);
    let mut made = Made::of(Config { templates, ..Config::default() });
    let other = CreateRequest { template_id: Some("other".to_owned()), ..CreateRequest::default() };
    let one = made.create(other).await.unwrap();
    let which = "import sys; print(sys.executable, sys.version)";
    let before = python(&one, which).await;
    let two = made.copy_of(&one).await;
    assert_eq!(python(&two, which).await, before);
    // Wherever it is made from: it is the snapshot that knows what it stands on.
    let plain = Made::of(Config::default());
    let id = made.snapshots[0].id.clone();
    let three =
        plain.create(CreateRequest { template_id: Some(id), ..CreateRequest::default() }).await.unwrap();
    assert_eq!(python(&three, which).await, before);
    made.clear(vec![one, two, three]).await;
}

async fn what_was_lent_is_not_kept(at: At) {
    let mut made = Made::at(&at);
    let lent = Planted::new();
    let mount = |target: &str, mode| Mount {
        source: lent.path().to_owned(),
        target: target.to_owned(),
        mode,
        force: false,
    };
    let mounts = vec![mount("/workspace/lent", MountMode::ReadOnly), mount("/srv/copy", MountMode::Copy)];
    let one = match made.create(CreateRequest { mounts, ..CreateRequest::default() }).await {
        // Where the file system cannot map owners, there is nothing to lend like this.
        Err(error) if error.kind() == ErrorKind::Unsupported => return,
        one => one.unwrap(),
    };
    sh(&one, "echo secret > /srv/copy/added; cat /srv/copy/file").await;
    let two = made.copy_of(&one).await;
    let seen = all_output(
        &two,
        "ls -A /workspace/lent /srv/copy; cat /workspace/lent/file; find / -xdev -name added",
    )
    .await;
    assert!(!seen.contains(CANARY) && !seen.contains("added"), "{seen}");
    let mounts = vec![mount("/workspace/lent", MountMode::ReadOnly)];
    let id = made.snapshots[0].id.clone();
    let three = made
        .create(CreateRequest { template_id: Some(id), mounts, ..CreateRequest::default() })
        .await
        .unwrap();
    assert_eq!(sh(&three, "cat /workspace/lent/file").await.stdout, CANARY);
    lent.assert_untouched();
    made.clear(vec![one, two, three]).await;
}

async fn hosts_that_had_a_name_have_none_in_what_comes_of_it(at: At) {
    let mut made = Made::at(&at);
    let network = Some(Network::Allow(vec!["a.example.org".to_owned()]));
    let one = made.create(CreateRequest { network, ..CreateRequest::default() }).await.unwrap();
    assert!(sh(&one, "cat /etc/hosts").await.stdout.contains("a.example.org"));
    let two = made.copy_of(&one).await;
    let seen = all_output(&two, "cat /etc/hosts; env").await;
    assert!(
        seen.contains("localhost") && !seen.contains("a.example.org") && !seen.contains("PROXY"),
        "{seen}"
    );
    made.clear(vec![one, two]).await;
}

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

async fn a_sandbox_that_writes_without_end_is_kept_all_the_same(at: At) {
    let mut made = Made::at(&at);
    let resources = Resources { memory: Some(128 << 20), disk: Some(32 << 20), ..Resources::default() };
    let one = at.create(CreateRequest { resources, ..CreateRequest::default() }).await;
    let line = "setsid -f sh -c 'while :; do for n in 1 2 3 4 5 6 7 8; do head -c 1000000 /dev/zero > /tmp/$n; done; rm /tmp/*; \
                done' > /dev/null 2>&1; sleep 0.1";
    sh(&one, line).await;
    for _ in 0..5 {
        match one.snapshot(None).await {
            Ok(snapshot) => made.snapshots.push(snapshot),
            Err(error) => assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}"),
        }
    }
    assert_eq!(sh(&one, "echo alive").await.stdout, "alive\n");
    made.clear(vec![one]).await;
}

async fn ten_thousand_levels_are_kept(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    // From the innermost outwards: landlock looks at every directory above what is made.
    let make = "import os
os.makedirs('/app/top')
open('/app/top/end', 'w').write('end')
for _ in range(100):
  os.makedirs('/app/above' + '/d' * 99)
  os.rename('/app/top', '/app/above' + '/d' * 100)
  os.rename('/app/above', '/app/top')
os.rename('/app/top', '/app/d')
";
    let look = "import os
os.chdir('/app')
depth = 0
while os.path.isdir('d'):
  os.chdir('d')
  depth += 1
print(depth, open('end').read())
";
    python(&one, make).await;
    let two = made.copy_of(&one).await;
    assert_eq!(python(&two, look).await, "10001 end\n");
    made.clear(vec![one, two]).await;
}

async fn a_file_that_claims_to_be_huge_takes_no_memory(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    sh(
        &one,
        "truncate -s 1T ~/huge; echo begin | dd of=~/huge conv=notrunc status=none; \
              echo end | dd of=~/huge bs=1M seek=500000 conv=notrunc status=none",
    )
    .await;
    let begun = Instant::now();
    let two = made.copy_of(&one).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let seen = sh(
        &two,
        "stat -c '%s %b' ~/huge; head -c 6 ~/huge; dd if=~/huge bs=1M skip=500000 count=1 status=none | head -c 4",
    );
    assert_eq!(seen.await.stdout, "1099511627776 16\nbegin\nend\n");
    made.clear(vec![one, two]).await;
}

/// A provider whose snapshots may take this much more than there is now: other cases keep and let go meanwhile.
async fn with_room_for(bytes: u64) -> Made {
    let none = Made::of(Config { snapshot_memory: Some(0), spares: Some(0), ..Config::default() });
    let sandbox = none.sandbox().await;
    let error = sandbox.snapshot(None).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
    let taken = error
        .message()
        .rsplit_once(" are taken")
        .unwrap()
        .0
        .rsplit(' ')
        .next()
        .unwrap()
        .parse::<u64>()
        .unwrap();
    Made::of(Config { snapshot_memory: Some(taken + bytes), spares: Some(0), ..Config::default() })
}

async fn what_there_is_no_room_for_is_refused_and_takes_none(_: At) {
    let made = Made::of(Config { snapshot_memory: Some(8 << 20), spares: Some(0), ..Config::default() });
    let one = made.sandbox().await;
    sh(&one, "head -c 10M /dev/zero > ~/large").await;
    for _ in 0..3 {
        let error = one.snapshot(None).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
        assert!(error.message().contains("8388608"), "{error}");
        assert!(error.hint().unwrap().contains("`snapshotMemory`"), "{error}");
    }
    made.clear(vec![one]).await;
}

async fn many_tiny_files_are_refused_where_there_is_no_room(_: At) {
    let made = with_room_for(24 << 20).await;
    let one = made.sandbox().await;
    python(
        &one,
        "import os\nos.mkdir('/app')\nfor n in range(60000): os.close(os.open(f'/app/{n}', os.O_CREAT))",
    )
    .await;
    let error = one.snapshot(None).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
    made.clear(vec![one]).await;
}

async fn snapshots_of_snapshots_end_where_the_kernel_would(at: At) {
    let mut made = Made::at(&at);
    let mut last = at.sandbox().await;
    let mut all = Vec::new();
    for level in 0..16 {
        sh(
            &last,
            format!(
                "echo {level} > ~/{level}; echo {level} > ~/last; rm -f ~/removed; mkdir ~/removed || true"
            ),
        )
        .await;
        let next = made.copy_of(&last).await;
        all.push(std::mem::replace(&mut last, next));
    }
    assert_eq!(sh(&last, "ls ~ | wc -l; cat ~/last").await.stdout, "18\n15\n");
    let error = last.snapshot(None).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.message().contains("16") && error.hint().is_some(), "{error}");
    all.push(last);
    // Those below go first: what stands on them keeps what it needs.
    made.clear(all).await;
}

async fn a_snapshot_that_is_not_there_is_told_with_those_that_are(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    made.snapshots.push(one.snapshot(Some("isolation-told")).await.unwrap());
    let nothing = CreateRequest { template_id: Some("snap_0".to_owned()), ..CreateRequest::default() };
    let error = made.create(nothing).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(
        error.message().contains("`snap_0`") && error.hint().unwrap().contains("isolation-told"),
        "{error}"
    );
    // Ids are for those who have them.
    assert!(!error.hint().unwrap().contains(&made.snapshots[0].id), "{error}");
    made.clear(vec![one]).await;
}

async fn a_name_is_checked_and_an_id_cannot_be_guessed(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    for name in ["", "a b", "a/b", "../x", "ü", "a\n", &"x".repeat(129)] {
        let error = one.snapshot(Some(name)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.message().contains("`name`"), "{error}");
    }
    let (first, second) = (made.keep(&one).await, made.keep(&one).await);
    assert!(first != second && first.strip_prefix("snap_").is_some_and(|hex| hex.len() == 32), "{first}");
    made.clear(vec![one]).await;
}
