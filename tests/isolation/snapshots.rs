//! What is kept of sandboxes: all of what they wrote, and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use computesdk::compute;
use computesdk::error::{Error, ErrorKind};
use computesdk::provider::{CreateRequest, Mount, MountMode, Network, Snapshot};
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
    snapshots_of_a_folder_that_is_a_root_stand_on_it if snapshots,
    snapshots_of_another_python_have_it if snapshots,
    what_was_lent_is_not_kept if snapshots,
    hosts_that_had_a_name_have_none_in_what_comes_of_it if snapshots,
    ten_thousand_levels_are_kept if snapshots,
];

/// What the case made, and lets go of at its end.
pub(super) struct Made {
    at: At,
    pub(super) snapshots: Vec<Snapshot>,
    pub(super) sandboxes: Vec<Lent>,
}

impl Made {
    pub(super) fn at(at: &At) -> Self {
        Self { at: at.clone(), snapshots: Vec::new(), sandboxes: Vec::new() }
    }

    pub(super) fn of(config: Config) -> Self {
        Self::at(&At(Arc::new(Local::new(config)), &[]))
    }

    pub(super) async fn sandbox(&self) -> Lent {
        self.at.sandbox().await
    }

    pub(super) async fn keep(&mut self, sandbox: &Sandbox) -> String {
        self.snapshots.push(sandbox.snapshot(None).await.unwrap());
        self.snapshots.last().unwrap().id.clone()
    }

    /// A sandbox of what another is now.
    pub(super) async fn copy_of(&mut self, sandbox: &Sandbox) -> Lent {
        let id = self.keep(sandbox).await;
        self.create(CreateRequest { template_id: Some(id), ..CreateRequest::default() }).await.unwrap()
    }

    pub(super) async fn create(&self, request: CreateRequest) -> Result<Lent, Error> {
        compute::create_at(&self.at.0, &request, false).await.map(Lent::of)
    }

    /// Ends everything.
    pub(super) async fn clear(mut self, others: Vec<Lent>) {
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
