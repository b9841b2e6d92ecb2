//! A cable to a dnsmasq in a namespace of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tethercert::discovery::Options;
use tethercert::discovery::dns::AskDns;
use tethercert::discovery::interface;

/// How long anything may take that takes no time.
const PATIENCE: Duration = Duration::from_secs(20);
static NUMBER: AtomicU8 = AtomicU8::new(1);

/// What every dnsmasq here has: no word about the network outside.
const BASE: &str = "no-resolv\nno-hosts\nbind-interfaces\nlocal=/contoso.example/\n";
/// A range makes it answer DHCP.
pub const DHCP: &str = "dhcp-range=RANGE.100,RANGE.200,1h\n";

/// A cable with a dnsmasq at its other end. Both go when this is dropped.
pub struct Wire {
    /// Our end.
    pub interface: String,
    /// The server's address on it.
    pub server: Ipv4Addr,
    dnsmasq: Child,
    _folder: TempDir,
}

/// A program of the system that has to succeed.
pub fn must(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn namespace(process: &str) -> Option<std::path::PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/net")).ok()
}

impl Wire {
    /// A dnsmasq with this configuration; `RANGE` in it stands for the first three numbers of the cable's network.
    pub fn to(configuration: &str) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (interface, end, range) = (format!("phones{number}"), format!("server{number}"), format!("10.9.{number}"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dnsmasq.conf");
        fs::write(&file, format!("{BASE}interface={end}\n{}", configuration.replace("RANGE", &range))).unwrap();
        let leases = folder.path().join("leases");
        let script = format!(
            "read go && ip link set lo up && ip addr add {range}.1/24 dev {end} && ip link set {end} up && \
             exec dnsmasq --no-daemon --user=root --group=root --pid-file= --conf-file={} --dhcp-leasefile={}",
            file.display(),
            leases.display()
        );
        must("ip", &["link", "add", &interface, "type", "veth", "peer", "name", &end]);
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &script]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut dnsmasq = command.spawn().unwrap();
        let process = dnsmasq.id().to_string();
        wait_for("the server's namespace", || namespace(&process).is_some_and(|its| Some(its) != namespace("self")));
        must("ip", &["link", "set", &end, "netns", &process]);
        dnsmasq.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let mut said = BufReader::new(dnsmasq.stderr.take().unwrap());
        let mut all = String::new();
        while !all.contains("cleared cache") {
            let read = said.read_line(&mut all).unwrap();
            assert_ne!(read, 0, "dnsmasq did not start: {all}");
        }
        // Somebody has to read on, or it waits for us.
        std::thread::spawn(move || said.lines().for_each(drop));
        must("ip", &["addr", "add", &format!("{range}.7/24"), "dev", &interface]);
        must("ip", &["link", "set", &interface, "up"]);
        wait_for("the cable", || interface::suitable().unwrap().iter().any(|it| it.name == interface));
        let server = Ipv4Addr::new(10, 9, number, 1);
        Self { interface, server, dnsmasq, _folder: folder }
    }

    /// Options that ask on this cable, for users of contoso.example.
    pub fn options(&self) -> Options {
        Options {
            domain: Some("contoso.example".to_owned()),
            interface: Some(self.interface.clone()),
            dns: AskDns::Server(SocketAddr::from((self.server, 53))),
            reach: false,
            wait: PATIENCE,
            ..Options::default()
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.dnsmasq.kill();
        let _ = self.dnsmasq.wait();
        // Where the namespace has gone already, so has the cable.
        let _ = Command::new("ip").args(["link", "del", &self.interface]).stderr(Stdio::null()).status();
    }
}
