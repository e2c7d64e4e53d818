//! Attacks through a network that is allowed: what leads out must lead to what is allowed, and to nothing else.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use computesdk::error::ErrorKind as Kind;
use computesdk::provider::{Contact, CreateRequest, Network};

use crate::harness::{At, Case, Lent, cases, eventually, sh, shell, soon};
use crate::python;

pub(super) const CASES: &[Case] = cases![
    an_exact_name_is_reached_with_a_proxy_and_without,
    only_the_allowed_port_of_a_name_is_reached,
    what_is_not_allowed_is_refused_in_every_spelling,
    full_is_not_this_machine_and_not_its_network,
    without_the_proxy_nothing_outside_is_reached,
    names_are_not_resolved_inside,
    a_tunnel_leads_to_one_host_whatever_is_said_in_it,
    two_sandboxes_reach_what_each_is_allowed,
    ports_below_1024_are_listened_on_and_not_given_away,
    a_server_inside_may_have_the_proxys_port,
    programs_have_no_descriptor_of_the_way_out,
    idle_connections_are_counted_and_more_wait,
    two_hundred_requests_at_once_are_answered,
    each_side_may_end_its_half_first,
    a_reset_is_passed_on,
    what_is_on_its_way_ends_with_the_sandbox,
    the_log_tells_what_was_decided_and_is_bounded,
    a_list_that_is_none_is_refused_by_name,
    many_names_are_listened_for,
];

/// What a Python program inside begins with: `ask` sends bytes to the proxy and gives all that it answers.
const ASK: &str = "import socket
def ask(text):
  s = socket.create_connection(('127.111.0.1', 3128), 20); s.sendall(text.encode()); answer = b''
  while True:
    try: piece = s.recv(65536)
    except ConnectionResetError: break
    if not piece: break
    answer += piece
  return answer.decode()
";

/// The name of this machine, and the address that it has here.
fn this_machine() -> (String, IpAddr) {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_lowercase();
    let address =
        (name.as_str(), 0).to_socket_addrs().expect("this machine knows its own name").next().unwrap();
    (name, address.ip())
}

/// A server on this machine that answers each connection with what `serve` makes of it.
fn server(at: IpAddr, serve: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind(SocketAddr::new(at, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let serve = serve.clone();
            thread::spawn(move || serve(client.unwrap()));
        }
    });
    port
}

/// One that answers a request of HTTP.
fn greeting(mut client: TcpStream) {
    let _ = client.read(&mut [0; 4096]);
    let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
}

/// One that must not be reached.
fn planted() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn reaching(at: &At, network: Network) -> Lent {
    at.create(CreateRequest { network: Some(network), ..CreateRequest::default() }).await
}

async fn allowed(at: &At, list: &[String]) -> Lent {
    reaching(at, Network::Allow(list.to_vec())).await
}

fn verdicts(log: &[Contact]) -> Vec<(String, u16, bool)> {
    log.iter().map(|entry| (entry.host.clone(), entry.port, entry.allowed)).collect()
}

async fn an_exact_name_is_reached_with_a_proxy_and_without(at: At) {
    let (name, address) = this_machine();
    let port = server(address, greeting);
    let sandbox = allowed(&at, &[format!("{}.:{port}", name.to_uppercase())]).await;
    let source = format!(
        "import http.client, urllib.request
print(urllib.request.urlopen('http://{name}:{port}/').read())
c = http.client.HTTPConnection('{name}', {port}); c.request('GET', '/'); print(c.getresponse().read())
c = http.client.HTTPConnection('127.111.0.1', 3128); c.set_tunnel('{name}', {port}); c.request('GET', '/'); print(c.getresponse().read())"
    );
    assert_eq!(python(&sandbox, &source).await, "b'hello'\n".repeat(3));
    assert_eq!(verdicts(&sandbox.network_log().await.unwrap()), vec![(name, port, true); 3]);
}

async fn only_the_allowed_port_of_a_name_is_reached(at: At) {
    let (name, address) = this_machine();
    let (port, other) = (server(address, greeting), server(address, greeting));
    let sandbox = allowed(&at, &[format!("{name}:{port}")]).await;
    let source = format!(
        "{ASK}print(ask('GET http://{name}:{other}/ HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n')[9:12])
print(ask('CONNECT {name}:{other} HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n')[9:12])
try: socket.create_connection(('{name}', {other}), 5); print('REACHED')
except ConnectionRefusedError: print('refused')"
    );
    assert_eq!(python(&sandbox, &source).await, "403\n403\nrefused\n");
}

async fn what_is_not_allowed_is_refused_in_every_spelling(at: At) {
    let (listener, port) = planted();
    let (name, address) = this_machine();
    let server = server(address, greeting);
    let sandbox = allowed(&at, &[format!("{name}:{server}"), "*.example.com".to_owned()]).await;
    let source = format!(
        "{ASK}for host in ('127.0.0.1', '127.1', '2130706433', '0x7f000001', '0177.0.0.1', '127.0.0.1.', '[::1]', '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]', 'localhost', 'LOCALHOST.', '0', '0.0.0.0', '[::]', '169.254.169.254', '2852039166', '[fd00:ec2::254]', '10.0.0.1',
    '1.1.1.1', '{name}', '{name}.evil.org', 'x{name}', 'example.com', 'example.com.evil.org', 'evilexample.com', '%31%32%37.0.0.1'):
  for p in ({port}, 80, 443, 22):
    for request in (f'CONNECT {{host}}:{{p}} HTTP/1.1', f'GET http://{{host}}:{{p}}/ HTTP/1.1'):
      answer = ask(request + '\\r\\nHost: {name}:{server}\\r\\nConnection: close\\r\\n\\r\\n')
      if not answer.startswith(('HTTP/1.1 403', 'HTTP/1.1 400')): print(request, answer)"
    );
    assert_eq!(python(&sandbox, &source).await, "");
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(sandbox.network_log().await.unwrap().iter().all(|entry| !entry.allowed));
}

async fn full_is_not_this_machine_and_not_its_network(at: At) {
    let (listener, port) = planted();
    let sandbox = reaching(&at, Network::Full).await;
    let (name, _) = this_machine();
    let source = format!(
        "{ASK}for host in ('localhost', '{name}', '127.0.0.1', '127.8.8.8', '[::1]', '[::ffff:127.0.0.1]', '0.0.0.0', '169.254.169.254',
    '169.254.170.2', '[fd00:ec2::254]', '168.63.129.16', '10.0.0.1', '172.17.0.1', '192.168.0.1', '100.100.100.200', '[fe80::1]',
    '[64:ff9b::a9fe:a9fe]', '[2002:7f00:1::]', '224.0.0.1', '255.255.255.255'):
  for request in (f'CONNECT {{host}}:{port} HTTP/1.1', f'GET http://{{host}}:{port}/ HTTP/1.1'):
    answer = ask(request + '\\r\\nConnection: close\\r\\n\\r\\n')
    if not answer.startswith('HTTP/1.1 403'): print(request, answer)"
    );
    assert_eq!(python(&sandbox, &source).await, "");
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

async fn without_the_proxy_nothing_outside_is_reached(at: At) {
    let (_listener, port) = planted();
    for network in [Network::Full, Network::Allow(vec!["1.1.1.1".to_owned(), "example.com".to_owned()])] {
        let sandbox = reaching(&at, network).await;
        let source = format!(
            "import errno, socket
for host, port in (('127.0.0.1', {port}), ('169.254.169.254', 80), ('10.0.0.1', 80), ('1.1.1.1', 443), ('fd00::1', 80), ('2606:4700:4700::1111', 443)):
  family = 10 if ':' in host else 2
  s = socket.socket(family); s.settimeout(2)
  try: s.connect((host, port)); print(host, 'REACHED')
  except OSError as e: print(host, e) if e.errno not in (errno.ENETUNREACH, errno.ECONNREFUSED, errno.EADDRNOTAVAIL) else None
  d = socket.socket(family, 2)
  try: d.sendto(b'x', (host, 53)); print(host, 'SENT') if host != '127.0.0.1' else None
  except OSError: pass"
        );
        assert_eq!(python(&sandbox, &source).await, "");
        assert_eq!(
            sh(&sandbox, "tail -n +3 /proc/net/dev | cut -d: -f1; tail -n +2 /proc/net/route")
                .await
                .stdout
                .trim(),
            "lo"
        );
    }
}

async fn names_are_not_resolved_inside(at: At) {
    let sandbox = allowed(&at, &["allowed.example".to_owned(), "*.wild.example".to_owned()]).await;
    let source = "import socket
print(socket.getaddrinfo('allowed.example', 443, 2, 1)[0][4])
for name in ('a.wild.example', 'wild.example', 'example.com', 'secret.evil.example'):
  try: print(name, socket.getaddrinfo(name, 443))
  except socket.gaierror: pass";
    assert_eq!(python(&sandbox, source).await, "('127.111.1.0', 443)\n");
}

async fn a_tunnel_leads_to_one_host_whatever_is_said_in_it(at: At) {
    let (listener, planted) = planted();
    let (name, address) = this_machine();
    let echo = |mut client: TcpStream| {
        let mut read = [0; 4096];
        while let Ok(length @ 1..) = client.read(&mut read) {
            let _ = client.write_all(&read[..length]);
        }
    };
    let port = server(address, echo);
    let sandbox = allowed(&at, &[format!("{name}:{port}")]).await;
    let source = format!(
        "{ASK}s = socket.create_connection(('127.111.0.1', 3128), 20)
s.sendall(b'CONNECT {name}:{port} HTTP/1.1\\r\\n\\r\\n'); print(s.recv(4096)[:12])
inner = b'CONNECT 127.0.0.1:{planted} HTTP/1.1\\r\\n\\r\\n'
s.sendall(inner); print(s.recv(4096) == inner)
s = socket.create_connection(('{name}', {port}), 20); s.sendall(inner); print(s.recv(4096) == inner)"
    );
    assert_eq!(python(&sandbox, &source).await, "b'HTTP/1.1 200'\nTrue\nTrue\n");
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

async fn two_sandboxes_reach_what_each_is_allowed(at: At) {
    let (name, address) = this_machine();
    let (one_port, other_port) = (server(address, greeting), server(address, greeting));
    let one = allowed(&at, &[format!("{name}:{one_port}")]).await;
    let other = allowed(&at, &[format!("{name}:{other_port}")]).await;
    let none = at.sandbox().await;
    let source = format!(
        "{ASK}for port in ({one_port}, {other_port}): print(ask(f'GET http://{name}:{{port}}/ HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n')[9:12])"
    );
    assert_eq!(python(&one, &source).await, "200\n403\n");
    assert_eq!(python(&other, &source).await, "403\n200\n");
    let alone = "import socket
try: socket.create_connection(('127.111.0.1', 3128), 2); print('REACHED')
except ConnectionRefusedError: pass";
    assert_eq!(python(&none, alone).await, "");
    assert_eq!(sh(&none, "env | grep -ic proxy; cat /etc/hosts | wc -l").await.stdout, "0\n2\n");
    assert_eq!(none.network_log().await.unwrap(), []);
    assert_eq!(
        verdicts(&one.network_log().await.unwrap()),
        [(name.clone(), one_port, true), (name, other_port, false)]
    );
}

async fn ports_below_1024_are_listened_on_and_not_given_away(at: At) {
    let sandbox = allowed(&at, &["a.example".to_owned()]).await;
    let source = "import socket
for port in (80, 443):
  # Nobody has this name: what is let in is reset, and what is not would be refused.
  try: socket.create_connection(('a.example', port), 5)
  except ConnectionResetError: pass
  print('reached')
for address in ('127.0.0.1', '127.111.1.0', '0.0.0.0'):
  try: socket.socket().bind((address, 80)); print('TAKEN')
  except PermissionError: pass
try: socket.socket().bind(('127.111.0.1', 3128)); print('TAKEN')
except OSError: pass";
    assert_eq!(python(&sandbox, source).await, "reached\nreached\n");
}

async fn a_server_inside_may_have_the_proxys_port(at: At) {
    let sandbox = reaching(&at, Network::Full).await;
    let source = "import socket
s = socket.socket(); s.bind(('127.0.0.1', 3128)); s.listen(); socket.create_connection(('127.0.0.1', 3128), 5); print('own')";
    assert_eq!(python(&sandbox, source).await, "own\n");
}

async fn programs_have_no_descriptor_of_the_way_out(at: At) {
    let sandbox = allowed(&at, &["a.example".to_owned()]).await;
    let inside = sh(&sandbox, "ls /proc/self/fd | wc -l; ls /proc/1/fd 2>/dev/null | wc -l").await;
    assert_eq!(inside.stdout, "4\n0\n");
}

async fn idle_connections_are_counted_and_more_wait(at: At) {
    let (name, address) = this_machine();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, peak) = (Arc::clone(&now), Arc::clone(&most));
    let port = server(address, move |mut client| {
        peak.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let _ = client.write_all(b"x");
        while let Ok(1..) = client.read(&mut [0; 64]) {}
        counted.fetch_sub(1, Ordering::SeqCst);
    });
    let sandbox = allowed(&at, &[format!("{name}:{port}")]).await;
    let source = format!(
        "import socket, time
all = [socket.create_connection(('{name}', {port}), 20) for _ in range(300)]
for s in all[:256]: s.recv(1)
all[299].settimeout(0.3)
try: all[299].recv(1); print('TOO MANY')
except TimeoutError: print('waits')
for s in all[:200]: s.close()
all[299].settimeout(20); print(all[299].recv(1))"
    );
    assert_eq!(python(&sandbox, &source).await, "waits\nb'x'\n");
    assert_eq!(most.load(Ordering::SeqCst), 256);
    let none_left = async || now.load(Ordering::SeqCst) == 0;
    eventually("all of them end with their program", Duration::from_secs(5), none_left).await;
}

async fn two_hundred_requests_at_once_are_answered(at: At) {
    let (name, address) = this_machine();
    let port = server(address, greeting);
    let sandbox = allowed(&at, &[format!("{name}:{port}")]).await;
    let source = format!(
        "import concurrent.futures, urllib.request, http.client
def get(number):
  if number % 2: return urllib.request.urlopen('http://{name}:{port}/').read()
  c = http.client.HTTPConnection('{name}', {port}); c.request('GET', '/'); return c.getresponse().read()
with concurrent.futures.ThreadPoolExecutor(200) as pool: print(sum(answer == b'hello' for answer in pool.map(get, range(200))))"
    );
    assert_eq!(python(&sandbox, &source).await, "200\n");
}

async fn each_side_may_end_its_half_first(at: At) {
    let (name, address) = this_machine();
    let port = server(address, |mut client| {
        let mut asked = String::new();
        client.read_to_string(&mut asked).unwrap();
        client.write_all(asked.to_uppercase().as_bytes()).unwrap();
    });
    let sandbox = allowed(&at, &[format!("{name}:{port}")]).await;
    let source = format!(
        "import socket
s = socket.create_connection(('{name}', {port}), 20); s.sendall(b'question' * 100000); s.shutdown(1)
answer = b''
while piece := s.recv(65536): answer += piece
print(answer == b'QUESTION' * 100000)"
    );
    assert_eq!(python(&sandbox, &source).await, "True\n");
}

async fn a_reset_is_passed_on(at: At) {
    let (name, address) = this_machine();
    let closed = server(address, |mut client| {
        let _ = client.read(&mut [0; 1]);
        // What has come and is not read makes the end a reset.
    });
    let nobody = {
        let listener = TcpListener::bind(SocketAddr::new(address, 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    let sandbox = allowed(&at, &[format!("{name}:{closed}"), format!("{name}:{nobody}")]).await;
    let source = format!(
        "{ASK}for port in ({closed}, {nobody}):
  try: s = socket.create_connection(('{name}', port), 20); s.sendall(b'much' * 1000); print(s.recv(10), 'ENDED')
  except (ConnectionResetError, BrokenPipeError): print('reset')
print(ask('CONNECT {name}:{nobody} HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n')[9:12])"
    );
    assert_eq!(python(&sandbox, &source).await, "reset\nreset\n502\n");
    let log = sandbox.network_log().await.unwrap();
    assert!(
        log.iter().all(|entry| entry.allowed && entry.reason.is_some() == (entry.port == nobody)),
        "{log:?}"
    );
}

async fn what_is_on_its_way_ends_with_the_sandbox(at: At) {
    let (name, address) = this_machine();
    let (sender, ends) = std::sync::mpsc::channel();
    let port = server(address, move |mut client| {
        let begun = Instant::now();
        while client.write_all(&[0; 65536]).is_ok() {}
        let _ = sender.send(begun.elapsed());
    });
    let sandbox = allowed(&at, &[format!("{name}:{port}")]).await;
    let line = format!(
        "for i in 1 2 3; do (exec 3<>/dev/tcp/{name}/{port}; cat <&3 >/dev/null) & done; exec 3<>/dev/tcp/{name}/{port}; sleep 60"
    );
    sandbox.spawn(shell(line), Default::default()).await.unwrap();
    let four = async || sandbox.network_log().await.unwrap().len() == 4;
    eventually("all are connected", Duration::from_secs(10), four).await;
    soon("the end of the sandbox", Duration::from_secs(2), sandbox.destroy()).await.unwrap();
    for _ in 0..4 {
        ends.recv_timeout(Duration::from_secs(5)).expect("the server is told");
    }
    assert_eq!(sandbox.network_log().await.unwrap_err().kind(), Kind::NotFound);
}

async fn the_log_tells_what_was_decided_and_is_bounded(at: At) {
    let sandbox = allowed(&at, &["a.example:81".to_owned()]).await;
    let source = format!(
        "{ASK}for number in range(1100):
  answer = ask(f'GET http://host{{number}}.example/ HTTP/1.1\\r\\n\\r\\n')
  # Who is refused has to come again.
  assert answer.startswith('HTTP/1.1 403') and 'connection: close' in answer, answer"
    );
    assert_eq!(python(&sandbox, &source).await, "");
    let log = sandbox.network_log().await.unwrap();
    assert_eq!(log.len(), 1000);
    assert_eq!((log[0].host.as_str(), log[999].host.as_str()), ("host100.example", "host1099.example"));
    assert!(log.iter().all(|entry| !entry.allowed && entry.reason.is_some() && entry.port == 80));
    assert!(log.is_sorted_by_key(|entry| entry.at));
}

async fn a_list_that_is_none_is_refused_by_name(at: At) {
    let network = Some(Network::Allow(vec!["fine.example".to_owned(), "https://example.com".to_owned()]));
    let request = CreateRequest { network, ..CreateRequest::default() };
    let error = computesdk::compute::create_at(&at.0, &request, false).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    assert!(
        error.message().contains("`network.allow[1]`") && error.message().contains("`https://example.com`"),
        "{error}"
    );
}

async fn many_names_are_listened_for(at: At) {
    let names: Vec<_> = (0..256).map(|number| format!("host{number}.example")).collect();
    let sandbox = allowed(&at, &names).await;
    let source = "import socket
for number in (0, 100, 255):
  try: socket.create_connection((f'host{number}.example', 443), 5)
  except ConnectionResetError: pass
  print('reached')
print(len([line for line in open('/proc/net/tcp') if line.split()[3] == '0A']))";
    assert_eq!(python(&sandbox, source).await, "reached\nreached\nreached\n513\n");
}
