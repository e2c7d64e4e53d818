//! Attacks through the network.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::harness::{At, Case, cases, sh};
use crate::{Planted, python};

pub(super) const CASES: &[Case] = cases![
    the_hosts_services_are_not_reached,
    nothing_outside_is_reached,
    there_is_no_socket_of_the_host,
    what_listens_inside_does_not_listen_outside,
    loopback_works_inside,
    a_port_leads_to_the_sandbox_and_not_to_the_host,
    the_way_in_is_on_the_loopback_address_only,
    the_way_in_is_none_from_inside,
];

async fn the_hosts_services_are_not_reached(at: At) {
    let (planted, sandbox) = (Planted::new(), at.sandbox().await);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let name = format!("computesdk-planted-{}", std::process::id());
    let _named = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let path = format!("{}/socket", planted.path());
    let _bound = UnixListener::bind(&path).unwrap();
    let source = format!(
        "import socket
for family, address in ((2, ('127.0.0.1', {port})), (2, ('0.0.0.0', {port})), (10, ('::1', {port})), (1, '\\0{name}'), (1, '{path}')):
  s = socket.socket(family); s.settimeout(2)
  try: s.connect(address); print(address, 'REACHED')
  except OSError: pass"
    );
    assert_eq!(python(&sandbox, &source).await, "");
}

async fn nothing_outside_is_reached(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import errno, socket
for host in ('169.254.169.254', '192.0.2.1', '10.0.0.1', '172.17.0.1', '1.1.1.1', 'fd00::1', '2606:4700:4700::1111', 'fe80::1%1'):
  family = 10 if ':' in host else 2
  s = socket.socket(family); s.settimeout(2)
  try: s.connect(socket.getaddrinfo(host, 80, family, 1)[0][4]); print(host, 'REACHED')
  except OSError as e: print(host, e) if e.errno not in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EINVAL, errno.ENODEV) else None
  d = socket.socket(family, 2)
  try: d.sendto(b'x', (host.split('%')[0], 53)); print(host, 'SENT')
  except OSError: pass
try: socket.getaddrinfo('example.com', 80); print('RESOLVED')
except OSError: pass";
    assert_eq!(python(&sandbox, source).await, "");
    assert_eq!(sh(&sandbox, "tail -n +3 /proc/net/dev | cut -d: -f1 | grep -v lo; tail -n +2 /proc/net/route; ls /proc/sys/net/ipv4/conf | tr '\\n' ' '").await.stdout, "all default lo ");
}

async fn there_is_no_socket_of_the_host(at: At) {
    let sandbox = at.sandbox().await;
    assert_eq!(
        sh(&sandbox, "find / -type s 2>/dev/null; ls -A /run; tail -n +2 /proc/net/unix | grep -v '[0-9]$'")
            .await
            .stdout,
        ""
    );
}

async fn what_listens_inside_does_not_listen_outside(at: At) {
    let (one, other) = (at.sandbox().await, at.sandbox().await);
    let free = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = free.local_addr().unwrap().port();
    let source = format!(
        "import socket\ns = socket.socket(); s.bind(('0.0.0.0', {port})); s.listen(); print('listens')"
    );
    // Taken on the host, and free in every sandbox.
    assert_eq!(python(&one, &source).await, "listens\n");
    assert_eq!(python(&other, &source).await, "listens\n");
}

async fn loopback_works_inside(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import socket
for family, host in ((2, '127.0.0.1'), (10, '::1'), (2, 'localhost')):
  s = socket.socket(family); s.bind((host, 0)); s.listen()
  c = socket.create_connection(s.getsockname()[:2]); a, _ = s.accept(); c.send(b'x'); print(a.recv(1))";
    assert_eq!(python(&sandbox, source).await, "b'x'\nb'x'\nb'x'\n");
}

/// The port of this machine that a URL names.
fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

async fn a_port_leads_to_the_sandbox_and_not_to_the_host(at: At) {
    let sandbox = at.sandbox().await;
    let ours = TcpListener::bind("127.0.0.1:0").unwrap();
    ours.set_nonblocking(true).unwrap();
    let url = sandbox.url(ours.local_addr().unwrap().port(), None).await.unwrap();
    let turned_away =
        TcpStream::connect(("127.0.0.1", port_of(&url))).and_then(|mut client| client.read(&mut [0]));
    assert_eq!(turned_away.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(ours.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

async fn the_way_in_is_on_the_loopback_address_only(at: At) {
    let sandbox = at.sandbox().await;
    let port = port_of(&sandbox.url(3000, None).await.unwrap());
    let lists = ["/proc/net/tcp", "/proc/net/tcp6"].map(|list| fs::read_to_string(list).unwrap_or_default());
    let local: Vec<_> = lists
        .iter()
        .flat_map(|list| list.lines())
        .filter(|line| line.split_whitespace().nth(3) == Some("0A"))
        .filter_map(|line| line.split_whitespace().nth(1))
        .filter(|address| address.ends_with(&format!(":{port:04X}")))
        .collect();
    let loopback = u32::from_ne_bytes([127, 0, 0, 1]);
    assert_eq!(local, [format!("{loopback:08X}:{port:04X}")]);
}

async fn the_way_in_is_none_from_inside(at: At) {
    let (one, other) = (at.sandbox().await, at.sandbox().await);
    let port = port_of(&one.url(3000, None).await.unwrap());
    let source = format!(
        "import socket
try: socket.create_connection(('127.0.0.1', {port}), 2); print('REACHED')
except ConnectionRefusedError: pass"
    );
    assert_eq!(python(&one, &source).await, "");
    assert_eq!(python(&other, &source).await, "");
}
