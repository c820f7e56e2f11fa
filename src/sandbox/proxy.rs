//! The only way out of a build: a small HTTP proxy for it alone, which knows what its policy allows.
//!
//! The build has no route and no names; it asks here (`CONNECT` for HTTPS, whole addresses for plain HTTP). A host is
//! judged by its name, the name is resolved here, each address is judged, and exactly a judged address is connected. What
//! is refused is told in the build's log. Nothing is stored, and encrypted traffic is not looked into.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::{Host, Url};

use crate::domain::policy::BuildNetwork;
use crate::outbound::Guard;

/// Connections at a time.
const CONNECTIONS: usize = 64;
/// Bytes of one build, both ways together.
const BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// The head of a request may be so long.
const HEAD_BYTES: usize = 16 * 1024;
/// And may take so long.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// Resolving and connecting may take so long, each.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// A connection on which nothing moves for so long is closed.
const IDLE: Duration = Duration::from_secs(120);
/// Web servers; nothing else, so that a build sends no mail.
const PORTS: [u16; 2] = [80, 443];
/// So many different refusals are told.
const TOLD: usize = 50;

/// The proxy of one build.
#[derive(Clone)]
pub(super) struct Proxy(Arc<State>);

struct State {
    network: BuildNetwork,
    guard: Guard,
    ports: Vec<u16>,
    left: AtomicU64,
    told: Mutex<HashSet<String>>,
    notes: mpsc::Sender<String>,
    connections: Arc<Semaphore>,
}

/// Why a request is not passed on.
enum No {
    /// It must not be: told to the build and in its log.
    Refused(String),
    /// It could not be.
    Failed(String),
}

impl Proxy {
    /// A proxy that allows what `network` says, at public addresses only. `notes` gets a sentence for each refusal.
    pub(super) fn new(network: BuildNetwork, notes: mpsc::Sender<String>) -> Self {
        Self::with(network, Guard::new(&[]), PORTS.to_vec(), notes)
    }

    fn with(network: BuildNetwork, guard: Guard, ports: Vec<u16>, notes: mpsc::Sender<String>) -> Self {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        Self(Arc::new(State { network, guard, ports, left: BYTES.into(), told: Mutex::default(), notes, connections }))
    }

    /// Answers on a listener until it is dropped; every connection ends with it.
    pub(super) async fn serve(self, listener: TcpListener) {
        let mut open = JoinSet::new();
        loop {
            let Ok(permit) = self.0.connections.clone().acquire_owned().await else { return };
            let Ok((client, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            while open.try_join_next().is_some() {}
            let state = self.0.clone();
            open.spawn(async move {
                // What goes wrong on one connection is seen by the program that made it.
                let _ = state.answer(client).await;
                drop(permit);
            });
        }
    }
}

impl State {
    async fn answer(&self, mut client: TcpStream) -> io::Result<()> {
        let Ok(head) = timeout(HEAD_TIME, Head::read(&mut client)).await else { return Ok(()) };
        let Some(head) = head? else {
            return say(&mut client, "400 Bad Request", "this is no request of HTTP/1").await;
        };
        match self.reach(&head).await {
            Ok(mut server) => {
                match head.forwarded {
                    None => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?,
                    Some(forwarded) => server.write_all(forwarded.as_bytes()).await?,
                }
                server.write_all(&head.rest).await?;
                self.pass(client, server).await
            }
            Err(No::Refused(why)) => {
                self.note(&why);
                say(&mut client, "403 Forbidden", &why).await
            }
            Err(No::Failed(why)) => say(&mut client, "502 Bad Gateway", &why).await,
        }
    }

    /// A connection to an address that was judged.
    async fn reach(&self, head: &Head) -> Result<TcpStream, No> {
        let Head { host, port, .. } = head;
        let refused = |why: String| No::Refused(format!("the build asked for {host}:{port}, {why}"));
        let name = host.to_string();
        if !self.network.permits(&name) {
            return Err(refused(format!("which is not in the policy's build.network ({})", self.network)));
        }
        if !self.ports.contains(port) {
            let ports: Vec<String> = self.ports.iter().map(ToString::to_string).collect();
            return Err(refused(format!("but builds reach the ports {} only", ports.join(" and "))));
        }
        let found: Vec<IpAddr> = match host {
            Host::Ipv4(address) => vec![(*address).into()],
            Host::Ipv6(address) => vec![(*address).into()],
            Host::Domain(name) => {
                let found = timeout(CONNECT_TIME, tokio::net::lookup_host((name.as_str(), *port))).await;
                let failed = || No::Failed(format!("the name {name} could not be resolved"));
                found.map_err(|_| failed())?.map_err(|_| failed())?.map(|address| address.ip()).collect()
            }
        };
        let good: Vec<IpAddr> = found.iter().copied().filter(|address| self.guard.permits_build(*address)).collect();
        if let (true, Some(address)) = (good.is_empty(), found.first()) {
            return Err(refused(format!("which is at {address}: no public address of another machine")));
        }
        for address in good {
            if let Ok(Ok(server)) = timeout(CONNECT_TIME, TcpStream::connect(SocketAddr::new(address, *port))).await {
                return Ok(server);
            }
        }
        Err(No::Failed(format!("{host}:{port} does not answer")))
    }

    /// Both directions until both have ended.
    async fn pass(&self, mut client: TcpStream, mut server: TcpStream) -> io::Result<()> {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::try_join!(self.pump(from_client, to_server), self.pump(from_server, to_client))?;
        Ok(())
    }

    async fn pump(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = timeout(IDLE, from.read(&mut buffer)).await??;
            if length == 0 {
                return to.shutdown().await;
            }
            let left =
                self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(length as u64));
            if left.is_err() {
                self.note("the build has moved more over the network than a build may, and is cut off");
                return Err(io::Error::other("the limit of bytes"));
            }
            timeout(IDLE, to.write_all(&buffer[..length])).await??;
        }
    }

    /// Each refusal once, and not too many.
    fn note(&self, why: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD && told.insert(why.to_owned()) {
            // when nobody keeps up, the program that was refused still knows
            let _ = self.notes.try_send(why.to_owned());
        }
    }
}

async fn say(client: &mut TcpStream, status: &str, why: &str) -> io::Result<()> {
    let length = why.len() + 8;
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\ntitan: {why}\n"
    );
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await
}

/// The beginning of a connection: where it wants to go.
struct Head {
    host: Host<String>,
    port: u16,
    /// For plain HTTP: what is said to the server instead.
    forwarded: Option<String>,
    /// What came behind the head.
    rest: Vec<u8>,
}

impl Head {
    /// `None`: not a request that this proxy understands.
    async fn read(client: &mut TcpStream) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = bytes.split_off(end + 4);
                bytes.truncate(end);
                return Ok(std::str::from_utf8(&bytes).ok().and_then(|text| Self::parse(text, rest)));
            }
            let length = client.read(&mut buffer).await?;
            if length == 0 || bytes.len() + length > HEAD_BYTES {
                return Ok(None);
            }
            bytes.extend_from_slice(&buffer[..length]);
        }
    }

    fn parse(text: &str, rest: Vec<u8>) -> Option<Self> {
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
            return None;
        }
        if method == "CONNECT" {
            let (host, port) = target.rsplit_once(':')?;
            return Some(Self { host: parse_host(host)?, port: port.parse().ok()?, forwarded: None, rest });
        }
        let method_is_a_word = !method.is_empty() && method.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let url = Url::parse(target).ok().filter(|url| url.scheme() == "http" && method_is_a_word)?;
        let host = parse_host(url.host_str()?)?;
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut forwarded = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\n");
        for line in lines {
            let (name, _) = line.split_once(':')?;
            let name = name.to_ascii_lowercase();
            if line.contains(['\r', '\n']) || line.starts_with([' ', '\t']) || name.ends_with(' ') {
                return None;
            }
            let for_proxies = name.starts_with("proxy-");
            if !for_proxies && !matches!(name.as_str(), "host" | "connection" | "keep-alive" | "upgrade" | "te") {
                forwarded.push_str(line);
                forwarded.push_str("\r\n");
            }
        }
        // one request for each connection: another one could be meant for another host
        forwarded.push_str("Connection: close\r\n\r\n");
        Some(Self { host, port: url.port().unwrap_or(80), forwarded: Some(forwarded), rest })
    }
}

/// A host in any of its spellings; numbers that mean an address become one.
fn parse_host(text: &str) -> Option<Host<String>> {
    match Host::parse(text).ok()? {
        // a dot at the end means the same name, and is not part of what is judged
        Host::Domain(name) => Some(Host::Domain(name.strip_suffix('.').unwrap_or(&name).to_owned())),
        address => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::network::HostPattern;

    fn head(text: &str) -> Option<(String, u16, Option<String>)> {
        Head::parse(text, Vec::new()).map(|head| (head.host.to_string(), head.port, head.forwarded))
    }

    #[test]
    fn heads_are_read_and_rewritten() {
        assert_eq!(
            head("CONNECT Registry.Example.:443 HTTP/1.1\r\nHost: x"),
            Some(("registry.example".into(), 443, None))
        );
        assert_eq!(head("CONNECT 0x7f.1:443 HTTP/1.1"), Some(("127.0.0.1".into(), 443, None)));
        assert_eq!(head("CONNECT [::ffff:7f00:1]:80 HTTP/1.1"), Some(("[::ffff:7f00:1]".into(), 80, None)));
        let plain = "GET http://a.example:80/x?y#z HTTP/1.1\r\nHost: evil.example\r\nProxy-Authorization: s\r\n\
                     Connection: keep-alive\r\nAccept: */*";
        let expected = "GET /x?y HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\nConnection: close\r\n\r\n";
        assert_eq!(head(plain), Some(("a.example".into(), 80, Some(expected.into()))));
        for odd in [
            "GET / HTTP/1.1\r\nHost: a.example",
            "GET https://a.example/ HTTP/1.1",
            "GET ftp://a.example/ HTTP/1.1",
            "CONNECT a.example HTTP/1.1",
            "CONNECT a.example:99999 HTTP/1.1",
            "CONNECT a example:443 HTTP/1.1",
            "GET http://a.example/ HTTP/2",
            "GET http://a.example/ HTTP/1.1\r\nHost a",
            "GET http://a.example/ HTTP/1.1\r\nA: b\r\n folded: c",
            "GE\nT http://a.example/ HTTP/1.1",
            "",
        ] {
            assert_eq!(head(odd), None, "{odd:?}");
        }
    }

    /// A web server that answers with what it was asked.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut seen = vec![0; 4096];
                let length = client.read(&mut seen).await.expect("a request");
                let answer = [b"HTTP/1.1 200 OK\r\n\r\n", &seen[..length]].concat();
                client.write_all(&answer).await.expect("it listens");
            }
        });
        address
    }

    /// What a proxy answers to these bytes, and what it notes.
    async fn ask(network: BuildNetwork, allowed: &[&str], port: u16, said: &str) -> (String, Vec<String>) {
        let (notes, mut noted) = mpsc::channel(8);
        let guard = Guard::new(&allowed.iter().map(|net| net.parse().expect("a network")).collect::<Vec<_>>());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let proxy = tokio::spawn(Proxy::with(network, guard, vec![port], notes).serve(listener));
        let mut client = TcpStream::connect(address).await.expect("the proxy");
        client.write_all(said.as_bytes()).await.expect("it listens");
        let mut answer = Vec::new();
        let read = timeout(Duration::from_secs(5), client.read_to_end(&mut answer)).await;
        read.expect("an end").expect("an answer");
        proxy.abort();
        let mut all = Vec::new();
        while let Ok(note) = noted.try_recv() {
            all.push(note);
        }
        (String::from_utf8_lossy(&answer).into_owned(), all)
    }

    #[tokio::test]
    async fn what_is_allowed_is_passed_on_both_ways() {
        let address = echo().await;
        let port = address.port();
        let list = || BuildNetwork::Hosts(vec![HostPattern::parse("localhost").expect("a name")]);
        let plain = format!("GET http://LOCALHOST.:{port}/x HTTP/1.1\r\nHost: other\r\n\r\n");
        let (answer, notes) = ask(list(), &["127.0.0.0/8"], port, &plain).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.contains("GET /x HTTP/1.1\r\nHost: localhost"),
            "{answer}"
        );
        assert!(!answer.contains("other") && notes.is_empty());
        let tunnel = format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\nfrom inside");
        let (answer, _) = ask(list(), &["127.0.0.0/8"], port, &tunnel).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 Connection established") && answer.ends_with("from inside"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn what_is_not_allowed_is_refused_and_told() {
        let address = echo().await;
        let port = address.port();
        let list = BuildNetwork::Hosts(vec![HostPattern::parse("localhost").expect("a name")]);
        for (network, target, why) in [
            (list.clone(), "localhost", "no public address"),
            (list.clone(), "127.0.0.1", "not in the policy's build.network (localhost)"),
            (list, "evil.example", "not in the policy's build.network (localhost)"),
            (BuildNetwork::Full, "localhost", "no public address"),
            (BuildNetwork::Full, "2130706433", "at 127.0.0.1"),
            (BuildNetwork::Full, "[::ffff:127.0.0.1]", "no public address"),
            (BuildNetwork::Full, "169.254.169.254", "no public address"),
            (BuildNetwork::Full, "[fd00:ec2::254]", "no public address"),
            (BuildNetwork::Full, "100.64.0.1", "no public address"),
        ] {
            let said = format!("CONNECT {target}:{port} HTTP/1.1\r\n\r\n");
            let (answer, notes) = ask(network, &[], port, &said).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{target}: {answer}");
            assert!(notes.len() == 1 && notes[0].contains(why), "{target}: {notes:?}");
        }
        let mail = "CONNECT 93.184.215.14:25 HTTP/1.1\r\n\r\n";
        let (answer, notes) = ask(BuildNetwork::Full, &[], 443, mail).await;
        assert!(answer.starts_with("HTTP/1.1 403") && notes[0].contains("ports 443 only"), "{notes:?}");
        let (answer, _) = ask(BuildNetwork::Full, &[], 443, "SSH-2.0-x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
}
