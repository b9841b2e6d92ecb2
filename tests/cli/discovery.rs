//! Finding a pool as a phone does, by the lab's DHCP and DNS servers.

use super::*;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use tethercert::lab::dhcp::{DhcpFault, DhcpPlan, DhcpServer};
use tethercert::lab::dns::{DnsData, DnsPlan, SmallServer, shared};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const ALICE: &str = "alice@contoso.example";

/// A DHCP and a DNS server on loopback.
pub(super) struct Network {
    dhcp: DhcpServer,
    dns: SmallServer,
    _runtime: tokio::runtime::Runtime,
}

impl Network {
    pub(super) fn with(faults: &[DhcpFault], web_port: u16) -> Self {
        Self::named("pool.contoso.example", faults, web_port)
    }

    /// With another registrar.
    pub(super) fn named(registrar: &str, faults: &[DhcpFault], web_port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (registrar, faults) = (registrar.to_owned(), faults.to_vec());
        let plan = DhcpPlan { registrar, faults, web_port, ..DhcpPlan::default() };
        let records = DnsPlan::default()
            .with("_sipinternaltls._tcp.contoso.example", DnsData::Srv(0, 0, 5061, "pool.contoso.example".to_owned()))
            .with("_ntp._udp.contoso.example", DnsData::Srv(0, 0, 123, "time.contoso.example".to_owned()))
            .with("ucupdates-r2.contoso.example", DnsData::A(Ipv4Addr::new(192, 0, 2, 20)));
        let dhcp = runtime.block_on(DhcpServer::start(LOOPBACK, shared(plan))).unwrap();
        let dns = runtime.block_on(SmallServer::dns(LOOPBACK, shared(records))).unwrap();
        Self { dhcp, dns, _runtime: runtime }
    }

    /// A tool that asks these two and nobody else.
    pub(super) fn tool(&self) -> Tool {
        Tool::new()
            .with("TETHERCERT_DISCOVERY", "on")
            .with("TETHERCERT_DHCP_SERVER", self.dhcp.address().to_string())
            .with("TETHERCERT_DNS_SERVER", self.dns.address().to_string())
    }
}

/// The words of a `provision` that names no pool; names of the lab's servers lead to this computer.
fn provision(lab: &TestLab, hosts: &[(&str, u16, u16)]) -> Vec<String> {
    let alice = &lab.ready.users[0];
    let mut words = vec!["provision", "--user", ALICE, "--yes", "--usbip", &lab.ready.usbip, "--login", &alice.login];
    words.extend(["--trust-anchor", path(&lab.ready.trust_anchor), "--drivers", path(&lab.ready.drivers)]);
    words.extend(["--password-file", path(&alice.password_file)]);
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    for (host, port, to) in hosts {
        words.extend(["--resolve".to_owned(), format!("{host}:{port}:127.0.0.1:{to}")]);
    }
    words
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn closed_port() -> u16 {
    TcpListener::bind(LOOPBACK).unwrap().local_addr().unwrap().port()
}

#[test]
fn the_screen_shows_every_answer_and_what_is_wrong() {
    let good = Network::with(&[], 443);
    let find = ["discovery", "--no-connect", "--user", ALICE];
    snapshot("discovery", &good.tool().run(&find).whole());
    snapshot("discovery --json", &good.tool().run(&[&find[..], &["--json"]].concat()).whole());
    let two = Network::with(&[DhcpFault::WrongCase, DhcpFault::Rogue], 443);
    snapshot("discovery with two servers", &two.tool().run(&find).whole());
}

#[test]
fn discover_and_find_are_the_same_command() {
    let network = Network::with(&[], 443);
    for command in [&["discover"][..], &["discovery", "find"]] {
        let ran = network.tool().run(&[command, &["--no-connect", "--domain", "contoso.example", "--json"]].concat());
        assert_eq!((ran.code, &ran.last()["registrar"]), (0, &"pool.contoso.example:5061".into()), "{}", ran.whole());
    }
}

#[test]
fn what_an_administrator_has_to_set_is_printed_for_each_server() {
    let encode = ["discovery", "encode", "--registrar", "pool.contoso.example", "--web", "web.contoso.example"];
    let tool = Tool::new();
    snapshot("discovery encode", &tool.run(&encode).whole());
    let hex = tool.run(&[&encode[..], &["--form", "hex", "--port", "4443"]].concat());
    assert_eq!(hex.stdout.lines().count(), 2, "{}", hex.stdout);
    assert!(hex.stdout.starts_with("2b 57 01 0c 4d 53"), "{}", hex.stdout);
    for wrong in [&["--path", "CertProv"][..], &["--port", "0"]] {
        assert_eq!(tool.run(&[&encode[..], wrong].concat()).code, 2);
    }
    let short = ["discovery", "encode", "--registrar", "pool", "--web", "192.0.2.1"];
    assert_eq!(tool.run(&short).code, 2);
}

#[test]
fn the_labs_own_network_leads_to_its_pool() {
    let lab = TestLab::start(0, |_| {});
    let network = lab.lab.network();
    let (dhcp, dns) = (network.dhcp().to_string(), network.dns().to_string());
    let port = lab.lab.registrar().address().port().to_string();
    let mut find = vec!["discovery", "--json", "--user", ALICE, "--dhcp-server", &dhcp, "--dns-server", &dns];
    find.extend(["--registrar-port", &port]);
    let ran = Tool::new().run(&find);
    let says: Vec<String> = ran.lines().iter().filter_map(|line| line["says"].as_str().map(str::to_owned)).collect();
    let registrar = format!("{}:{port} is open, for the registrar", lab.ready.registrar_name);
    assert!(says.contains(&registrar), "{}", ran.whole());
    assert!(says.iter().any(|text| text.ends_with("is open, for the Web Services")), "{}", ran.whole());
    assert!(
        says.iter().any(|text| text.starts_with("time.contoso.example and this computer agree")),
        "{}",
        ran.whole()
    );
}

#[test]
fn a_job_without_a_pool_finds_it_as_the_phone_would() {
    let lab = TestLab::start(1, |_| {});
    let port = lab.lab.web().address().port();
    let network = Network::with(&[], port);
    let tool = network.tool();
    let hosts = [("web.contoso.example", port, port), ("pool.contoso.example", 5061, closed_port())];
    let ran = tool.run(&words(&provision(&lab, &hosts)));
    assert_eq!(ran.code, 0, "{}", ran.whole());
    assert!(ran.stdout.contains("(option 43 of 127.0.0.67)"), "{}", ran.stdout);
    let info = ["info", "--json", "--usbip", &lab.ready.usbip, "--drivers", path(&lab.ready.drivers)];
    let settings = tool.run(&info).last()["settings"].clone();
    assert_eq!(settings["registrar"], "pool.contoso.example:5061", "{settings}");
    // An address by hand goes past it.
    let by_hand = [script(&lab.ready, &["--password-file", path(&lab.ready.users[0].password_file)]), vec!["--renew"]];
    let ran = tool.run(&by_hand.concat());
    assert_eq!((ran.code, ran.stdout.contains("option 43")), (0, false), "{}", ran.whole());
}

#[test]
fn a_stranger_who_answers_dhcp_first_gets_no_password_without_a_person() {
    let lab = TestLab::start(1, |_| {});
    let port = lab.lab.web().address().port();
    let network = Network::with(&[DhcpFault::Rogue], port);
    let words_of = provision(&lab, &[("web.fabrikam.example", port, port)]);
    let ran = network.tool().run(&words(&words_of));
    assert_eq!(ran.code, 6, "{}", ran.whole());
    snapshot("discovery of a stranger", &ran.whole().replace(&port.to_string(), "PORT"));
    assert!(lab.lab.phone().installed().is_none());
}

#[test]
#[cfg(target_os = "linux")]
fn a_person_decides_about_a_name_outside_the_users_domain() {
    use super::pools::Terminal;
    let lab = TestLab::start(1, |_| {});
    let port = lab.lab.web().address().port();
    let network = Network::with(&[DhcpFault::Rogue], port);
    let hosts = [("web.fabrikam.example", port, port), ("pool.fabrikam.example", 5061, closed_port())];
    let line = provision(&lab, &hosts).join(" ").replace('\\', "\\\\").replace(" --yes", "");
    for (answer, refused) in [("n", true), ("y", false)] {
        let mut terminal = Terminal::start(&network.tool(), &line);
        terminal.answer("credential there? [y/N]", answer);
        if !refused {
            terminal.answer("this one? [Y/n]", "");
        }
        let (shown, code) = terminal.end();
        // The lab has no certificate for that name: agreed to, it ends there.
        assert_eq!((code == 6, shown.contains("outside the user's SIP domain")), (refused, refused), "{shown}");
        assert!(code != 0, "{shown}");
    }
}

#[test]
fn verify_judges_the_pool_that_dhcp_names() {
    let lab = TestLab::start(1, |_| {});
    let port = lab.lab.web().address().port();
    let network = Network::with(&[], port);
    let resolve = [("web.contoso.example", port), ("pool.contoso.example", 5061)]
        .map(|(host, of)| format!("{host}:{of}:127.0.0.1:{port}"));
    let mut verify = vec!["verify", "--json", "--usbip", &lab.ready.usbip, "--drivers", path(&lab.ready.drivers)];
    verify.extend([
        "--trust-anchor",
        path(&lab.ready.trust_anchor),
        "--resolve",
        &resolve[0],
        "--resolve",
        &resolve[1],
    ]);
    let ran = network.tool().run(&verify);
    let servers = ran.lines().into_iter().filter(|line| line["check"] == "server");
    let texts: Vec<String> = servers.map(|line| line["text"].to_string()).collect();
    assert!(texts.iter().any(|text| text.contains("web.contoso.example")), "{}", ran.whole());
}
