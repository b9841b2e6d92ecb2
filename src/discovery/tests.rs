//! Discovery against the lab's DHCP, DNS and time servers, over real packets on loopback.

use super::*;
use crate::diagnose::Verdict;
use crate::lab::dhcp::{DhcpFault, DhcpPlan, DhcpServer};
use crate::lab::dns::{DnsData, DnsFault, DnsPlan, SmallServer, TimeFault, shared};
use std::net::{SocketAddrV4, TcpListener};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A network with a DHCP server, a DNS server and a time server.
struct Network {
    dhcp: Option<DhcpServer>,
    dns: SmallServer,
    time: SmallServer,
}

/// What is wrong in it.
#[derive(Default)]
struct Wrong {
    dhcp: Vec<DhcpFault>,
    dns: Option<DnsFault>,
    time: Option<TimeFault>,
    web_port: u16,
    no_dhcp: bool,
    records: Vec<(&'static str, DnsData)>,
}

fn of_contoso() -> Options {
    Options { domain: Some("contoso.example".to_owned()), ..Options::default() }
}

fn local() -> DnsData {
    DnsData::A(Ipv4Addr::LOCALHOST)
}

impl Network {
    async fn with(wrong: Wrong) -> Self {
        let time = SmallServer::time(LOOPBACK, shared(wrong.time)).await.unwrap();
        let ntp = DnsData::Srv(0, 0, time.address().port(), "time.contoso.example".to_owned());
        let plan = DnsPlan { fault: wrong.dns, ..DnsPlan::default() }
            .with("_ntp._udp.contoso.example", ntp)
            .with("time.contoso.example", local())
            .with("web.contoso.example", local())
            .with("pool.contoso.example", local());
        let plan = wrong.records.into_iter().fold(plan, |plan, (name, data)| plan.with(name, data));
        let dns = SmallServer::dns(LOOPBACK, shared(plan)).await.unwrap();
        let plan = DhcpPlan { faults: wrong.dhcp, web_port: wrong.web_port.max(1), ..DhcpPlan::default() };
        let dhcp = if wrong.no_dhcp { None } else { Some(DhcpServer::start(LOOPBACK, shared(plan)).await.unwrap()) };
        Self { dhcp, dns, time }
    }

    fn options(&self) -> Options {
        let dhcp = match self.dhcp.as_ref().map(DhcpServer::address) {
            Some(SocketAddr::V4(server)) => AskDhcp::Server(server),
            Some(SocketAddr::V6(_)) | None => AskDhcp::Nobody,
        };
        Options {
            domain: Some("contoso.example".to_owned()),
            dhcp,
            dns: AskDns::Server(self.dns.address()),
            // Long enough that a busy machine loses nothing; an answer ends it sooner.
            wait: Duration::from_secs(20),
            ..Options::default()
        }
    }

    async fn find(&self) -> Discovered {
        find(&self.options()).await
    }
}

/// Whether this was found, with this in its evidence.
fn has(discovered: &Discovered, trouble: Trouble, evidence: &str) {
    let found = discovered.findings.iter().find(|finding| finding.says == trouble.text());
    let found = found.unwrap_or_else(|| panic!("{trouble:?} is not among {:#?}", discovered.findings));
    assert!(found.evidence.iter().any(|line| line.contains(evidence)), "{evidence:?} is not in {:?}", found.evidence);
    assert!(found.next_step.as_deref().is_some_and(|next| !next.is_empty()));
}

fn has_not(discovered: &Discovered, trouble: Trouble) {
    assert!(discovered.findings.iter().all(|finding| finding.says != trouble.text()), "{:#?}", discovered.findings);
}

async fn with_fault(fault: DhcpFault) -> Discovered {
    let network = Network::with(Wrong { dhcp: vec![fault], ..Wrong::default() }).await;
    find(&Options { reach: false, ..network.options() }).await
}

#[tokio::test]
async fn in_good_weather_everything_is_found_and_reached() {
    let web = TcpListener::bind(LOOPBACK).unwrap();
    let registrar = TcpListener::bind(LOOPBACK).unwrap();
    let web_port = web.local_addr().unwrap().port();
    let network = Network::with(Wrong { web_port, ..Wrong::default() }).await;
    let options = Options { registrar_port: registrar.local_addr().unwrap().port(), ..network.options() };
    let discovered = find(&options).await;
    let url = format!("https://web.contoso.example:{web_port}/CertProv/CertProvisioningService.svc");
    assert_eq!(discovered.web_services.as_ref().unwrap().value.url(), url);
    assert_eq!(discovered.registrar.as_ref().unwrap().value.host.as_str(), "pool.contoso.example");
    let source = discovered.web_services.as_ref().unwrap().source.to_string();
    assert_eq!(source, "option 43 of 127.0.0.67");
    assert!(discovered.outside().is_empty());
    let says: Vec<&str> = discovered.findings.iter().map(|finding| finding.says.as_str()).collect();
    assert!(says.contains(&"127.0.0.67 sends phones to VLAN 100"), "{says:#?}");
    assert!(
        says.contains(&format!("web.contoso.example:{web_port} is open, for the Web Services").as_str()),
        "{says:#?}"
    );
    assert!(says.iter().any(|text| text.starts_with("time.contoso.example and this computer agree")), "{says:#?}");
    // Nobody listens on port 80 of this computer, or somebody does: that is not this test's.
    let bad =
        discovered.findings.iter().filter(|it| it.verdict == Verdict::Bad && !it.evidence.concat().contains(":80 "));
    assert_eq!(bad.count(), 0, "{:#?}", discovered.findings);
    assert_ne!(network.time.address().port(), 0);
}

#[tokio::test]
async fn each_fault_of_a_dhcp_server_is_its_own_finding() {
    let all = [
        (DhcpFault::NoRegistrar, Trouble::RegistrarMissing, "127.0.0.67 answered with options 43, 53, 54"),
        (DhcpFault::NoWeb, Trouble::WebMissing, "127.0.0.67 answered with options 53, 54, 120"),
        (DhcpFault::WrongCase, Trouble::IdentifierCase, "sub-option 1 is `ms-uc-client`"),
        (DhcpFault::OtherIdentifier, Trouble::IdentifierOther, "sub-option 1 is `ubnt`"),
        (DhcpFault::NoIdentifier, Trouble::IdentifierMissing, "it has 2, 3, 4, 5"),
        (DhcpFault::Http, Trouble::SchemeNotHttps, "sub-option 2 is `http`"),
        (DhcpFault::WebByAddress, Trouble::WebNameUnreadable, "192.0.2.10 is an address"),
        (DhcpFault::BadPort, Trouble::WebPortUnreadable, "sub-option 4 is `https`"),
        (DhcpFault::BadPath, Trouble::WebPathUnreadable, "sub-option 5 is `CertProv/"),
        (DhcpFault::Incomplete, Trouble::WebIncomplete, "sub-option 5, the path, is missing"),
        (DhcpFault::CutShort, Trouble::WebUnreadable, "sub-option 5 wants 37 bytes, and 34 are left"),
        (DhcpFault::RegistrarText, Trouble::RegistrarUnreadable, "it is the text `pool.contoso.example`"),
        (DhcpFault::RegistrarByAddress, Trouble::RegistrarByAddress, "it has 192.0.2.5"),
        (DhcpFault::BadVlan, Trouble::VlanUnreadable, "31 30 30 instead of two bytes"),
    ];
    // All at once: each waits a moment for a second server.
    futures_util::future::join_all(all.map(async |(fault, trouble, evidence)| {
        let discovered = with_fault(fault).await;
        has(&discovered, trouble, evidence);
        assert!(discovered.dhcp_was_asked());
    }))
    .await;
}

#[tokio::test]
async fn options_in_several_parts_are_read_as_one() {
    let discovered = with_fault(DhcpFault::InParts).await;
    assert!(discovered.web_services.is_some() && discovered.registrar.is_some(), "{:#?}", discovered.findings);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unknown_where_it_was_asked_straight() {
    let network = Network::with(Wrong { dhcp: vec![DhcpFault::Silent], ..Wrong::default() }).await;
    let options = Options { wait: Duration::from_millis(50), reach: false, ..network.options() };
    let discovered = find(&options).await;
    has(&discovered, Trouble::NoAnswer, "a port that not every server answers to");
    let finding = discovered.findings.iter().find(|it| it.says == Trouble::NoAnswer.text()).unwrap();
    assert_eq!(finding.verdict, Verdict::Unknown);
    assert!(discovered.web_services.is_none());
}

#[tokio::test]
async fn the_first_answer_with_a_name_wins_and_the_others_are_shown() {
    let discovered = with_fault(DhcpFault::Rogue).await;
    assert_eq!(discovered.dhcp.answers.len(), 2);
    assert_eq!(discovered.registrar.as_ref().unwrap().value.host.as_str(), "pool.fabrikam.example");
    has(&discovered, Trouble::ServersDisagree, "127.0.0.67 says pool.contoso.example, https://web.contoso.example");
    has(&discovered, Trouble::OutsideDomain, "web.fabrikam.example, pool.fabrikam.example");
    assert_eq!(discovered.outside().len(), 2);
    let late = with_fault(DhcpFault::LateRogue).await;
    assert_eq!(late.registrar.as_ref().unwrap().value.host.as_str(), "pool.contoso.example");
    has(&late, Trouble::ServersDisagree, "127.0.0.66 says pool.fabrikam.example");
    assert!(late.outside().is_empty());
}

#[tokio::test]
async fn an_allowed_host_and_no_other_may_be_outside_the_domain() {
    let network = Network::with(Wrong { dhcp: vec![DhcpFault::Rogue], ..Wrong::default() }).await;
    let allow_hosts = vec!["WEB.fabrikam.example".to_owned()];
    let discovered = find(&Options { allow_hosts, reach: false, ..network.options() }).await;
    assert_eq!(discovered.outside().iter().map(|it| it.as_str()).collect::<Vec<_>>(), ["pool.fabrikam.example"]);
    let discovered = find(&Options { domain: None, reach: false, ..network.options() }).await;
    assert_eq!(discovered.outside().len(), 2, "without a domain every name has to be agreed to");
    has_not(&discovered, Trouble::OutsideDomain);
}

#[tokio::test]
async fn a_server_that_knows_nothing_of_phones_leaves_the_registrar_to_dns() {
    let srv = |port, name: &str| DnsData::Srv(1, 0, port, name.to_owned());
    let records = vec![
        ("_sipinternaltls._tcp.contoso.example", srv(5061, "pool.contoso.example")),
        ("_sip._tls.contoso.example", srv(443, "edge.contoso.example")),
        ("sip.contoso.example", local()),
        ("ucupdates-r2.contoso.example", local()),
    ];
    let network = Network::with(Wrong { dhcp: vec![DhcpFault::Neither], records, ..Wrong::default() }).await;
    let discovered = find(&Options { reach: false, ..network.options() }).await;
    let registrar = discovered.registrar.as_ref().unwrap();
    assert_eq!((registrar.value.host.as_str(), registrar.value.port), ("pool.contoso.example", 5061));
    assert_eq!(registrar.source.to_string(), "DNS, _sipinternaltls._tcp.contoso.example");
    has(&discovered, Trouble::WebMissing, "answered with options 53, 54");
    let found: Vec<bool> = discovered.dns.iter().map(|it| it.answer.is_ok()).collect();
    assert_eq!(found, [true, true, false, true, false, true, true, false], "in the documented order");
    assert!(discovered.findings.iter().any(|it| it.says == "ucupdates-r2.contoso.example is there"));
}

#[tokio::test]
async fn the_records_are_fallen_back_on_in_their_order() {
    let names = ["sipinternal.contoso.example", "sip.contoso.example", "sipexternal.contoso.example"];
    for first in 0..names.len() {
        let records = names[first..].iter().map(|name| (*name, local())).collect();
        let network = Network::with(Wrong { no_dhcp: true, records, ..Wrong::default() }).await;
        let discovered = find(&Options { reach: false, ..network.options() }).await;
        let registrar = discovered.registrar.unwrap();
        assert_eq!((registrar.value.host.as_str(), registrar.value.port), (names[first], 5061));
    }
    let network = Network::with(Wrong { no_dhcp: true, ..Wrong::default() }).await;
    let discovered = find(&Options { reach: false, ..network.options() }).await;
    has(&discovered, Trouble::NoRegistrarInDns, "none of _sipinternaltls._tcp.contoso.example");
}

#[tokio::test]
async fn where_dhcp_was_not_heard_as_phones_hear_it_nothing_is_claimed_about_it() {
    let registrar = DnsData::Srv(1, 0, 5061, "pool.contoso.example".to_owned());
    let records = vec![("_sipinternaltls._tcp.contoso.example", registrar)];
    for (records, trouble) in [(records, Trouble::WebServicesUnknown), (Vec::new(), Trouble::NoRegistrarInDns)] {
        let network = Network::with(Wrong { no_dhcp: true, records, ..Wrong::default() }).await;
        let discovered = find(&Options { reach: false, ..network.options() }).await;
        has(&discovered, trouble, "DHCP may name it");
        let found = discovered.findings.iter().find(|finding| finding.says == trouble.text()).unwrap();
        assert_eq!(found.verdict, Verdict::Unknown);
    }
}

#[tokio::test]
async fn a_record_with_an_address_for_a_server_is_wrong_and_not_missing() {
    let srv = |name: &str| DnsData::Srv(1, 0, 5061, name.to_owned());
    let name = "_sipinternaltls._tcp.contoso.example";
    let network = Network::with(Wrong { no_dhcp: true, records: vec![(name, srv("192.0.2.9"))], ..Wrong::default() });
    let discovered = find(&Options { reach: false, ..network.await.options() }).await;
    has(&discovered, Trouble::TargetUnusable, &format!("for {name}: it names `192.0.2.9.`"));
    has_not(&discovered, Trouble::NoRegistrarInDns);
    // One that can be used is used.
    let records = vec![(name, srv("192.0.2.9")), (name, srv("pool.contoso.example"))];
    let network = Network::with(Wrong { no_dhcp: true, records, ..Wrong::default() }).await;
    let discovered = find(&Options { reach: false, ..network.options() }).await;
    assert_eq!(discovered.registrar.unwrap().value.host.as_str(), "pool.contoso.example");
}

#[test]
fn an_answer_that_names_nothing_contradicts_nobody() {
    let answer = |last: u8, registrar: Option<&str>| dhcp::Answer {
        server: Ipv4Addr::new(192, 0, 2, last),
        interface: None,
        after: Duration::ZERO,
        registrars: registrar.map(|name| Ok(vec![name.parse().unwrap()])),
        web_services: None,
        options: Vec::new(),
    };
    let heard = |answers| dhcp::Heard { answers, ..dhcp::Heard::default() };
    let one = heard(vec![answer(1, Some("pool.contoso.example")), answer(2, None)]);
    assert_eq!(answers::disagreement(&one).map(|finding| finding.says), None);
    let two = heard(vec![answer(1, Some("pool.contoso.example")), answer(2, Some("other.contoso.example"))]);
    assert_eq!(answers::disagreement(&two).unwrap().says, Trouble::ServersDisagree.text());
}

#[tokio::test]
async fn a_port_is_tried_at_so_many_addresses_at_once_and_no_more() {
    let closed = TcpListener::bind(LOOPBACK).unwrap().local_addr().unwrap().port();
    let addresses: Vec<_> = (1..=100).map(|last| Ipv4Addr::new(127, 0, 0, last).into()).collect();
    let finding = reach::port("web.contoso.example", &addresses, closed, "this test").await;
    assert_eq!(finding.says, Trouble::PortClosed.text());
    assert_eq!(finding.evidence[1], "tried 8 of its 100 addresses");
}

#[tokio::test]
async fn of_two_servers_in_a_record_the_preferred_one_is_taken() {
    let srv = |priority, weight, name: &str| DnsData::Srv(priority, weight, 5061, name.to_owned());
    let name = "_sipinternaltls._tcp.contoso.example";
    let records = vec![
        (name, srv(2, 9, "c.contoso.example")),
        (name, srv(1, 0, "b.contoso.example")),
        (name, srv(1, 5, "a.contoso.example")),
    ];
    let network = Network::with(Wrong { no_dhcp: true, records, ..Wrong::default() }).await;
    let discovered = find(&Options { reach: false, ..network.options() }).await;
    assert_eq!(discovered.registrar.unwrap().value.host.as_str(), "a.contoso.example");
}

#[tokio::test]
async fn a_dns_server_that_refuses_or_fails_is_not_one_that_has_no_record() {
    for fault in [DnsFault::Refused, DnsFault::Failed] {
        let network = Network::with(Wrong { dns: Some(fault), no_dhcp: true, ..Wrong::default() }).await;
        let discovered = network.find().await;
        has(&discovered, Trouble::DnsRefuses, &network.dns.address().to_string());
        has_not(&discovered, Trouble::NoRegistrarInDns);
        has_not(&discovered, Trouble::NoTimeRecord);
    }
}

#[tokio::test]
async fn a_dns_server_that_says_nothing_is_called_silent() {
    let network = Network::with(Wrong { dns: Some(DnsFault::Silent), no_dhcp: true, ..Wrong::default() }).await;
    let discovered = find(&Options { reach: false, ..network.options() }).await;
    has(&discovered, Trouble::DnsSilent, &network.dns.address().to_string());
    has_not(&discovered, Trouble::NoRegistrarInDns);
}

#[tokio::test]
async fn without_a_domain_dns_is_not_asked_and_that_is_said() {
    let network = Network::with(Wrong::default()).await;
    let discovered = find(&Options { domain: None, reach: false, ..network.options() }).await;
    assert!(discovered.findings.iter().any(|it| it.says == Trouble::NoDomain.text()));
    assert!(discovered.dns.is_empty() && discovered.web_services.is_some());
}

#[tokio::test]
async fn a_closed_port_and_a_name_that_does_not_resolve_are_findings() {
    let closed = TcpListener::bind(LOOPBACK).unwrap().local_addr().unwrap().port();
    let network = Network::with(Wrong { web_port: closed, ..Wrong::default() }).await;
    let options = Options { registrar_port: closed, ..network.options() };
    let discovered = find(&options).await;
    has(&discovered, Trouble::PortClosed, &format!("web.contoso.example:{closed} (127.0.0.1), for the Web Services"));
    has(&discovered, Trouble::PortClosed, "");
    let network = Network::with(Wrong { dhcp: vec![DhcpFault::Rogue], ..Wrong::default() }).await;
    has(&network.find().await, Trouble::NotResolved, "web.fabrikam.example");
}

#[tokio::test]
async fn what_is_wrong_with_the_time_is_told_apart() {
    for (fault, trouble, evidence) in [
        (TimeFault::Ahead(3600), Trouble::TimeDiffers, "s ahead of this computer"),
        (TimeFault::NotKnown, Trouble::TimeNotKnown, "it is not synchronised"),
        (TimeFault::Unreadable, Trouble::TimeUnreadable, "5 bytes instead of 48"),
    ] {
        let network = Network::with(Wrong { time: Some(fault), ..Wrong::default() }).await;
        has(&network.find().await, trouble, evidence);
    }
    let closed = std::net::UdpSocket::bind(LOOPBACK).unwrap().local_addr().unwrap().port();
    let plan = DnsPlan::default()
        .with("_ntp._udp.contoso.example", DnsData::Srv(0, 0, closed, "time.contoso.example".to_owned()))
        .with("time.contoso.example", local());
    let dns = SmallServer::dns(LOOPBACK, shared(plan)).await.unwrap();
    let options = Options { dns: AskDns::Server(dns.address()), dhcp: AskDhcp::Nobody, ..of_contoso() };
    has(&find(&options).await, Trouble::TimeSilent, &format!("time.contoso.example:{closed} (127.0.0.1)"));
}

#[tokio::test]
async fn without_a_record_for_the_time_phones_have_only_the_internet() {
    let dns = SmallServer::dns(LOOPBACK, shared(DnsPlan::default())).await.unwrap();
    let options = Options { dns: AskDns::Server(dns.address()), dhcp: AskDhcp::Nobody, ..of_contoso() };
    has(&find(&options).await, Trouble::NoTimeRecord, "_ntp._udp.contoso.example");
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_named_with_those_that_are() {
    let options = Options {
        interface: Some("no-such-0".to_owned()),
        dns: AskDns::Nobody,
        wait: Duration::from_millis(10),
        ..Options::default()
    };
    let discovered = find(&options).await;
    has(&discovered, Trouble::NoInterface, "no-such-0 is not one of those");
    assert!(!discovered.dhcp_was_asked());
}

#[tokio::test]
async fn a_closed_port_of_a_dhcp_server_is_no_error_of_this_computer() {
    let closed = std::net::UdpSocket::bind(LOOPBACK).unwrap().local_addr().unwrap().port();
    let dhcp = AskDhcp::Server(SocketAddrV4::new(Ipv4Addr::LOCALHOST, closed));
    let options = Options { dhcp, dns: AskDns::Nobody, wait: Duration::from_millis(50), ..Options::default() };
    has(&find(&options).await, Trouble::NoAnswer, &format!("127.0.0.1:{closed}"));
}

#[test]
fn every_trouble_has_a_text_of_its_own_and_a_next_step() {
    for (index, trouble) in Trouble::ALL.iter().enumerate() {
        assert!(!trouble.text().ends_with('.') && !trouble.next_step().is_empty());
        assert!(Trouble::ALL[..index].iter().all(|other| other.text() != trouble.text()), "{trouble:?}");
    }
}
