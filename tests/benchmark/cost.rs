//! What one phone costs this program: HTTPS requests, USB exchanges, bytes, processor time; cold and warm.
//!
//! The lab runs in a process of its own, so the processor time is the program's alone. Prints a table and asserts nothing
//! about time: `cargo bench --bench cost`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

#[path = "../provision/answers.rs"]
mod answers;

use answers::Answers;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tethercert::ledger::Ledger;
use tethercert::phone::definition::Definitions;
use tethercert::phone::tether::HostKey;
use tethercert::phone::{Finder, Parting};
use tethercert::provision::{Job, LabPhone, Outcome, Receipt, Stop, provision};
use tethercert::service::SignInWay;
use tethercert::service::ocauth::{Cost, Pool, Profile, RefusedCredentials, Settings};
use tethercert::tls::Trust;
use tethercert::usb::Usb;

/// Jobs for each line of the table. Processor time is counted in hundredths of a second, so it takes many.
const JOBS: u32 = 40;
/// Phones of a roster.
const ROSTER: u32 = 32;

struct Lab {
    process: Child,
    ready: serde_json::Value,
}

impl Lab {
    fn start(phones: u32) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tethercert"))
            .args(["lab", "--json", "--phones", &phones.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the lab starts");
        let output = process.stdout.take().expect("the lab's output is piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("the lab says that it is ready");
        Self { process, ready: serde_json::from_str(&line).expect("the ready line is JSON") }
    }

    fn text(&self, pointer: &str) -> &str {
        self.ready.pointer(pointer).and_then(|value| value.as_str()).expect("the ready line has it")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Station {
    lab: Lab,
    finder: Finder,
    ledger: Ledger,
}

/// One line of the table, as sums.
#[derive(Default)]
struct Sums {
    wall: Duration,
    cpu: Duration,
    requests: u64,
    connections: u64,
    https_bytes: u64,
    exchanges: u64,
    transfers: u64,
    usb_bytes: u64,
}

impl Station {
    async fn new() -> Self {
        let lab = Lab::start(1);
        let drivers = lab.text("/drivers").into();
        let finder = Finder {
            usb: Usb::usbip(lab.text("/usbip").parse().expect("host and port")),
            definitions: Arc::new(Definitions::load(None, &[drivers]).expect("the lab's definition is good")),
            host_key: Arc::new(HostKey::ephemeral()),
            host_label: "benchmark".into(),
        };
        let ledger = Ledger::temporary("benchmark").await.expect("a temporary ledger");
        Self { lab, finder, ledger }
    }

    fn pool(&self) -> Pool {
        let mut trust = Trust::only_given();
        trust.add_file(self.lab.text("/trust_anchor").as_ref()).expect("the lab's root");
        let settings = Settings {
            profile: Some(Profile::lab()),
            refused: RefusedCredentials::new(),
            ..Settings::new(self.lab.text("/certprov_url"), trust)
        };
        Pool::new(settings).expect("the lab's address is good")
    }

    async fn job(&self, pool: &Pool, way: SignInWay) -> (Box<Receipt>, Cost) {
        let read = |pointer| std::fs::read_to_string(self.lab.text(pointer)).expect("the lab's secret").into();
        let mut answers = Answers::yes(self.lab.text("/users/0/login").into(), read("/users/0/password_file"));
        if let SignInWay::Pin = way {
            answers.pin = Some((self.lab.text("/users/0/phone_number").into(), read("/users/0/pin_file")));
        }
        let job = Job {
            user: self.lab.text("/users/0/user").parse().expect("a SIP address"),
            sign_in: way,
            dry_run: false,
            replace: false,
            renew: true,
            abort_pending: false,
            compare_code: false,
            require_authentic: false,
            registrar: None,
            web_services: self.lab.text("/certprov_url").into(),
            rehearsal: None,
            parting: Parting::Leave,
            slot: "bench".into(),
            lab: true,
            lab_phone: LabPhone::NotAsked,
            publish_tries: 1,
            publish_wait: std::time::Duration::ZERO,
            jitter: tethercert::provision::Jitter::seeded(1),
            terms: None,
            world: tethercert::world::World::system(),
        };
        let found = self.finder.pick(None).await.expect("the lab has one phone");
        let mut phone = self.finder.open(&found).await.expect("it opens");
        let mut service = pool.enrolment();
        let outcome = provision(&job, phone.driver(), &mut service, &self.ledger, &mut answers, &Stop::default()).await;
        match outcome {
            Outcome::Done(receipt) => (receipt, service.cost()),
            other => panic!("{other:?}"),
        }
    }

    async fn line(&self, name: &str, way: SignInWay, warm: bool) {
        let shared = self.pool();
        if warm {
            self.job(&shared, way).await;
        }
        let mut sums = Sums::default();
        for _ in 0..JOBS {
            let pool = if warm { shared.clone() } else { self.pool() };
            let (wall, cpu) = (Instant::now(), cpu_time());
            let (receipt, cost) = self.job(&pool, way).await;
            sums.wall += wall.elapsed();
            sums.cpu += cpu_time() - cpu;
            sums.requests += cost.requests;
            sums.connections += cost.connections;
            sums.https_bytes += cost.received + cost.sent;
            sums.exchanges += receipt.traffic.exchanges;
            sums.transfers += receipt.traffic.transfers;
            sums.usb_bytes += receipt.traffic.bytes_in + receipt.traffic.bytes_out;
        }
        let each = |sum: u64| sum as f64 / f64::from(JOBS);
        println!(
            "{name:<12} {:>8.1} {:>7.1} {:>9} {:>9.1} {:>9.1} {:>9} {:>8.1} {:>8.1}",
            each(sums.requests),
            each(sums.connections),
            each(sums.https_bytes).round(),
            each(sums.exchanges),
            each(sums.transfers),
            each(sums.usb_bytes).round(),
            sums.cpu.as_secs_f64() * 1000.0 / f64::from(JOBS),
            sums.wall.as_secs_f64() * 1000.0 / f64::from(JOBS),
        );
    }
}

#[tokio::main]
async fn main() {
    let station = Station::new().await;
    println!("per phone, mean of {JOBS} jobs; the wall time holds the making of an RSA 2048 key in the phone");
    let columns = |name, cells: [&str; 8]| {
        let [a, b, c, d, e, f, g, h] = cells;
        println!("{name:<12} {a:>8} {b:>7} {c:>9} {d:>9} {e:>9} {f:>9} {g:>8} {h:>8}");
    };
    columns("", ["HTTPS", "TLS", "HTTPS", "USB", "USB", "USB", "CPU", "wall"]);
    columns("", ["requests", "conns", "bytes", "exchanges", "transfers", "bytes", "ms", "ms"]);
    station.line("NTLM, cold", SignInWay::Ntlm, false).await;
    station.line("NTLM, warm", SignInWay::Ntlm, true).await;
    station.line("PIN, cold", SignInWay::Pin, false).await;
    station.line("PIN, warm", SignInWay::Pin, true).await;
    println!("peak memory of the program: {}", peak_memory());
    for at_once in [1, 16, ROSTER] {
        roster(at_once);
    }
}

/// A roster of [`ROSTER`] phones, as the program does it by itself; the wall time holds the making of all keys in the lab.
fn roster(at_once: u32) {
    let lab = Lab::start(ROSTER);
    let home = tempfile::tempdir().expect("a temporary folder");
    let (wall, cpu) = (Instant::now(), cpu_time_of_children());
    let ran = Command::new(env!("CARGO_BIN_EXE_tethercert"))
        .args(["provision", "--json", "--roster", lab.text("/roster"), "--secrets", lab.text("/secrets")])
        .args(["--usbip", lab.text("/usbip"), "--drivers", lab.text("/drivers"), "--at-once", &at_once.to_string()])
        .args(["--certprov-url", lab.text("/certprov_url"), "--trust-anchor", lab.text("/trust_anchor")])
        .env("HOME", home.path())
        .output()
        .expect("the program runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    let (wall, cpu) = (wall.elapsed(), cpu_time_of_children() - cpu);
    let each = |time: Duration| time.as_secs_f64() * 1000.0 / f64::from(ROSTER);
    let a_minute = 60_000.0 / each(wall);
    println!(
        "a roster of {ROSTER}, {at_once} at once: {a_minute:.0} phones a minute, {:.1} ms processor time each",
        each(cpu)
    );
}

/// Processor time of this process, all threads: fields 14 and 15 of /proc/self/stat, in hundredths of a second (proc(5)).
fn cpu_time() -> Duration {
    ticks(14)
}

/// That of the programs it has started and that have ended: fields 16 and 17.
fn cpu_time_of_children() -> Duration {
    ticks(16)
}

/// Two neighbouring fields of /proc/self/stat that count time, from this one on.
fn ticks(first: usize) -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("the benchmark runs on Linux");
    let after_name = stat.rsplit_once(')').expect("the name is in parentheses").1;
    let ticks = after_name.split_whitespace().skip(first - 3).take(2).map(|ticks| ticks.parse::<u64>().unwrap_or(0));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("the benchmark runs on Linux");
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or(" unknown").trim().to_owned()
}
