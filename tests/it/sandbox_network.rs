//! Builds and their network: what may be reached through Titan's proxy, and that there is no other way.

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use titan::domain::policy::{BuildNetwork, Policy};
use titan::sandbox::BuildOutcome;

use crate::support::place::{Place, build, can_isolate};

fn network(written: &str) -> BuildNetwork {
    Policy::parse(&format!("version: 1\nbuild: {{network: {written}}}")).expect("a policy").build.network
}

#[tokio::test]
async fn no_socket_of_the_machine_can_be_reached_in_any_way() {
    if !can_isolate() {
        return;
    }
    let place = Place::new();
    let four = TcpListener::bind("127.0.0.1:0").expect("a port");
    let every = TcpListener::bind("0.0.0.0:0").expect("a port");
    let six = TcpListener::bind("[::1]:0").expect("a port");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let abstract_name = format!("titan-{}", place.word);
    let address = SocketAddr::from_abstract_name(&abstract_name).expect("a name");
    let unnamed = UnixListener::bind_addr(&address).expect("a socket");
    let path = place.folder.path().join("socket");
    let named = UnixListener::bind(&path).expect("a socket");
    for listener in [&four, &every, &six] {
        listener.set_nonblocking(true).expect("it is set");
    }
    datagrams.set_nonblocking(true).expect("it is set");
    unnamed.set_nonblocking(true).expect("it is set");
    named.set_nonblocking(true).expect("it is set");
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    let script = format!(
        "const net=require('net'),dgram=require('dgram'),dns=require('dns');
        const u=dgram.createSocket('udp4'); u.on('error',()=>{{}}); for(const h of ['127.0.0.1','127.255.255.255','10.0.0.1','8.8.8.8'])u.send('x',{udp},h,()=>{{}});
        const tries=[{{host:'127.0.0.1',port:{four}}},{{host:'127.0.0.1',port:{every}}},{{host:'0.0.0.0',port:{every}}},{{host:'::1',port:{six}}},
          {{host:'localhost',port:{four}}},{{host:'::ffff:127.0.0.1',port:{four}}},{{host:'169.254.169.254',port:80}},{{host:'fd00:ec2::254',port:80}},{{host:'1.1.1.1',port:443}},
          {{path:'\\0{name}'}},{{path:'{path}'}},{{host:'example.com',port:443}}];
        let left=tries.length; const done=(t,what)=>{{console.log(what, JSON.stringify(t)); if(--left==0)dns.resolve4('example.com',(e)=>{{console.log(e?'NO name':'BAD name'); process.exit(0)}})}};
        for(const t of tries){{const s=net.connect(t); s.setTimeout(1500,()=>s.destroy(new Error('time'))); s.on('connect',()=>{{s.destroy(); done(t,'BAD')}}); s.on('error',e=>done(t,'NO '+e.code))}}",
        udp = datagrams.local_addr().expect("an address").port(),
        four = port(&four),
        every = port(&every),
        six = port(&six),
        name = abstract_name,
        path = path.display(),
    );
    for reachable in ["none", "full"] {
        let mut request = place.request(&[&["node", "-e", &script]]);
        request.network = network(reachable);
        request.timeout = Duration::from_secs(20);
        let (outcome, log) = build(request).await;
        let said = log.split_once('\n').map(|(_, rest)| rest.replace(&script, "")).unwrap_or_default();
        assert!(matches!(outcome, Ok(BuildOutcome::Succeeded { .. })), "{outcome:?} {said}");
        assert!(said.contains("NO name") && !said.lines().any(|line| line.starts_with("BAD")), "{said}");
        assert_eq!(
            said.lines().filter(|line| line.starts_with("NO E") || line.starts_with("NO und")).count(),
            12,
            "{said}"
        );
    }
    for listener in [&four, &every, &six] {
        assert_eq!(listener.accept().expect_err("nobody came").kind(), ErrorKind::WouldBlock);
    }
    assert_eq!(unnamed.accept().expect_err("nobody came").kind(), ErrorKind::WouldBlock);
    assert_eq!(named.accept().expect_err("nobody came").kind(), ErrorKind::WouldBlock);
    assert_eq!(datagrams.recv(&mut [0; 8]).expect_err("nothing came").kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn the_proxy_is_the_only_way_and_refuses_what_is_not_public() {
    if !can_isolate() {
        return;
    }
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("it is set");
    let port = listener.local_addr().expect("an address").port();
    let script = format!(
        "const http=require('http'); const proxy=new URL(process.env.HTTP_PROXY); const targets=['localhost:80','127.0.0.1:{port}','[::1]:80','0x7f000001:80','169.254.169.254:80',
          '[fd00:ec2::254]:80','[::ffff:169.254.169.254]:80','10.0.0.1:443','100.64.0.1:443','metadata.google.internal.evil.test:80','1.1.1.1:25'];
        let left=targets.length; const done=(t,s)=>{{console.log('GOT',t,s); if(--left==0)process.exit(0)}};
        for(const t of targets){{const r=http.request({{host:proxy.hostname,port:proxy.port,method:'CONNECT',path:t}}); r.on('connect',(x)=>done(t,x.statusCode)); r.on('response',(x)=>done(t,x.statusCode)); r.on('error',e=>done(t,e.code)); r.end()}}"
    );
    let run = async |written: &str| {
        let mut request = place.request(&[&["node", "-e", &script]]);
        request.network = network(written);
        build(request).await
    };
    let (outcome, log) = run("full").await;
    assert!(matches!(outcome, Ok(BuildOutcome::Succeeded { .. })), "{outcome:?} {log}");
    assert_eq!(log.matches("GOT ").count(), 11, "{log}");
    assert!(!log.lines().any(|line| line.starts_with("GOT") && line.ends_with(" 200")), "{log}");
    assert_eq!(log.lines().filter(|line| line.ends_with(" 403")).count(), 10, "all but the name that is none: {log}");
    assert!(
        log.contains("titan: the build asked for 169.254.169.254:80, which is at 169.254.169.254: no public"),
        "{log}"
    );
    assert!(log.contains("titan: the build asked for 1.1.1.1:25, but builds reach the ports 80 and 443 only"), "{log}");

    let (_, log) = run("[localhost, '*.example.com']").await;
    assert!(
        log.contains("titan: the build asked for localhost:80, which is at ") && log.contains("no public address"),
        "{log}"
    );
    assert!(
        log.contains("10.0.0.1:443, which is not in the policy's build.network (localhost, *.example.com)"),
        "{log}"
    );
    assert!(log.lines().filter(|line| line.starts_with("GOT")).all(|line| line.ends_with(" 403")), "{log}");

    let (outcome, log) = build(place.script("env | grep -i proxy; exit 0")).await;
    assert!(matches!(outcome, Ok(BuildOutcome::Succeeded { .. })) && !log.contains("3128"), "none is none: {log}");
    assert_eq!(listener.accept().expect_err("nobody came").kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn npm_goes_through_the_proxy_and_its_author_learns_what_is_refused() {
    if !can_isolate() {
        return;
    }
    let place = Place::new();
    let registry = TcpListener::bind("127.0.0.1:0").expect("a port");
    registry.set_nonblocking(true).expect("it is set");
    let files = [
        ("package.json", r#"{"name":"x","version":"1.0.0","dependencies":{"left":"1.0.0"}}"#.to_owned()),
        (
            "package-lock.json",
            r#"{"name":"x","version":"1.0.0","lockfileVersion":3,"packages":{"":{"name":"x","version":"1.0.0","dependencies":{"left":"1.0.0"}},
            "node_modules/left":{"version":"1.0.0","resolved":"https://packages.evil.test/left-1.0.0.tgz","integrity":"sha512-AAAA"}}}"#
                .to_owned(),
        ),
    ];
    for (name, text) in files {
        std::fs::write(place.workspace().join(name), text).expect("a file");
    }
    let install = |extra: &[&str]| {
        let mut words = vec!["npm", "ci", "--fetch-retries=0"];
        words.extend(extra);
        place.request(&[&words])
    };
    let mut request = install(&[]);
    request.network = network("[registry.example.com]");
    let (outcome, log) = build(request).await;
    assert!(matches!(outcome, Ok(BuildOutcome::CommandFailed { .. })), "{outcome:?} {log}");
    assert!(
        log.contains("titan: the build asked for packages.evil.test:443, which is not in the policy's build.network"),
        "{log}"
    );

    // a registry that is in the list, but at this machine
    std::fs::write(
        place.workspace().join("package-lock.json"),
        r#"{"name":"x","version":"1.0.0","lockfileVersion":3,"packages":{"":{"name":"x","version":"1.0.0","dependencies":{"left":"1.0.0"}},
        "node_modules/left":{"version":"1.0.0","resolved":"http://localhost/left-1.0.0.tgz","integrity":"sha512-AAAA"}}}"#,
    )
    .expect("a file");
    let mut request =
        place.request(&[&["env", "NO_PROXY=", "no_proxy=", "npm_config_noproxy=", "npm", "ci", "--fetch-retries=0"]]);
    request.network = network("[localhost]");
    let (outcome, log) = build(request).await;
    assert!(matches!(outcome, Ok(BuildOutcome::CommandFailed { .. })), "{outcome:?} {log}");
    assert!(log.contains("titan: the build asked for localhost:80, which is at "), "{log}");
    assert_eq!(registry.accept().expect_err("nobody came").kind(), ErrorKind::WouldBlock);
}
