//! What is found, and what is found to be wrong.

use super::wire::{DHCP, Wire};
use std::net::UdpSocket;
use std::time::Duration;
use tethercert::diagnose::Verdict;
use tethercert::discovery::encode::{Encoded, Form};
use tethercert::discovery::options::{CERTPROV_PATH, WebServices};
use tethercert::discovery::{Discovered, Hearing, Options, Trouble, find};

const RECORDS: &str = "srv-host=_sipinternaltls._tcp.contoso.example,pool.contoso.example,5061,1\n\
     srv-host=_sip._tls.contoso.example,edge.contoso.example,443\n\
     host-record=pool.contoso.example,RANGE.1\nhost-record=web.contoso.example,RANGE.1\n\
     host-record=ucupdates-r2.contoso.example,RANGE.1\n";

/// What `discovery encode --form dnsmasq` prints for the pool of these names.
pub fn encoded(registrar: &str, web: &str) -> String {
    let web = WebServices { host: web.parse().unwrap(), port: 443, path: CERTPROV_PATH.to_owned() };
    Encoded::new(registrar.parse().unwrap(), web).unwrap().text(Form::Dnsmasq)
}

fn contoso() -> String {
    encoded("pool.contoso.example", "web.contoso.example")
}

fn found(discovered: &Discovered) -> (Option<String>, Option<String>) {
    let registrar = discovered.registrar.as_ref().map(|it| format!("{}:{}", it.value.host, it.value.port));
    (registrar, discovered.web_services.as_ref().map(|it| it.value.url()))
}

fn has(discovered: &Discovered, trouble: Trouble) -> Verdict {
    let found = discovered.findings.iter().find(|finding| finding.says == trouble.text());
    found.unwrap_or_else(|| panic!("{trouble:?} is not among {:#?}", discovered.findings)).verdict
}

fn is_good(discovered: &Discovered) {
    assert!(discovered.findings.iter().all(|it| it.verdict == Verdict::Good), "{:#?}", discovered.findings);
}

#[tokio::test]
async fn a_server_with_the_lines_that_encode_prints_leads_to_the_pool() {
    let vlan = "dhcp-option=vendor:CPE-OCPHONE,10,00:64\n";
    let wire = Wire::to(&format!("{DHCP}{RECORDS}{vlan}{}", contoso()));
    let discovered = find(&wire.options()).await;
    is_good(&discovered);
    let url = "https://web.contoso.example:443/CertProv/CertProvisioningService.svc";
    assert_eq!(found(&discovered), (Some("pool.contoso.example:5061".to_owned()), Some(url.to_owned())));
    let says: Vec<&str> = discovered.findings.iter().map(|it| it.says.as_str()).collect();
    assert!(says.contains(&format!("{} sends phones to VLAN 100", wire.server).as_str()), "{says:#?}");
    assert!(says.contains(&"ucupdates-r2.contoso.example is there"), "{says:#?}");
    assert_eq!(discovered.dhcp.asked[0].how.as_ref().ok(), Some(&Hearing::Port68));
    assert_eq!(discovered.dhcp.answers[0].server, wire.server);
}

#[tokio::test]
async fn beside_a_program_that_has_port_68_answers_are_heard_all_the_same() {
    let wire = Wire::to(&format!("{DHCP}{RECORDS}{}", contoso()));
    let clients = UdpSocket::bind(("0.0.0.0", 68)).unwrap();
    let discovered = find(&wire.options()).await;
    assert_eq!(discovered.dhcp.asked[0].how.as_ref().ok(), Some(&Hearing::Beside));
    assert!(discovered.web_services.is_some(), "{:#?}", discovered.findings);
    drop(clients);
}

#[tokio::test]
async fn where_dhcp_knows_nothing_of_phones_dns_names_the_registrar_and_nothing_the_web_services() {
    let wire = Wire::to(&format!("{DHCP}{RECORDS}"));
    let discovered = find(&wire.options()).await;
    assert_eq!(found(&discovered), (Some("pool.contoso.example:5061".to_owned()), None));
    assert_eq!(has(&discovered, Trouble::RegistrarMissing), Verdict::Bad);
    assert_eq!(has(&discovered, Trouble::WebMissing), Verdict::Bad);
    assert_eq!(has(&discovered, Trouble::NoVlan), Verdict::Unknown);
}

#[tokio::test]
async fn without_a_dhcp_server_nobody_answers_and_that_is_bad() {
    let wire = Wire::to(RECORDS);
    let discovered = find(&Options { wait: Duration::from_millis(1500), ..wire.options() }).await;
    assert_eq!(has(&discovered, Trouble::NoAnswer), Verdict::Bad);
    assert_eq!(has(&discovered, Trouble::WebServicesUnknown), Verdict::Bad);
    assert_eq!(found(&discovered).0.as_deref(), Some("pool.contoso.example:5061"));
}

#[tokio::test]
async fn what_an_administrator_wrote_wrong_is_named() {
    for (right, wrong, trouble) in [
        (r#"1,"MS-UC-Client""#, r#"1,"MS-UC-client""#, Trouble::IdentifierCase),
        (r#"2,"https""#, r#"2,"http""#, Trouble::SchemeNotHttps),
        (r#"3,"web.contoso.example""#, r#"3,"https://web""#, Trouble::WebNameUnreadable),
        (r#"4,"443""#, "4,443", Trouble::WebPortUnreadable),
        ("option:sip-server,pool.contoso.example", "option:sip-server,192.0.2.5", Trouble::RegistrarByAddress),
    ] {
        let lines = contoso();
        assert!(lines.contains(right));
        let wire = Wire::to(&format!("{DHCP}{}", lines.replace(right, wrong)));
        let discovered = find(&wire.options()).await;
        assert_eq!(has(&discovered, trouble), Verdict::Bad, "{wrong}");
    }
}

#[tokio::test]
async fn options_that_are_not_for_phones_alone_are_missing_for_phones() {
    let lines = contoso().replace("vendor:MS-UC-Client", "vendor:Other-Phone");
    let wire = Wire::to(&format!("{DHCP}{lines}"));
    assert_eq!(has(&find(&wire.options()).await, Trouble::WebMissing), Verdict::Bad);
}

#[tokio::test]
async fn two_servers_that_say_different_things_are_both_shown() {
    let ours = Wire::to(&format!("{DHCP}{RECORDS}{}", contoso()));
    let theirs = Wire::to(&format!("{DHCP}{}", encoded("pool.fabrikam.example", "web.fabrikam.example")));
    let discovered = find(&Options { interface: None, ..ours.options() }).await;
    let mut servers: Vec<_> = discovered.dhcp.answers.iter().map(|answer| answer.server).collect();
    servers.sort();
    assert_eq!(servers, [ours.server, theirs.server]);
    assert_eq!(has(&discovered, Trouble::ServersDisagree), Verdict::Bad);
}

#[tokio::test]
async fn a_name_that_the_server_does_not_know_is_not_found() {
    let wire = Wire::to(&format!("{DHCP}{}", contoso()));
    let discovered = find(&Options { reach: true, ..wire.options() }).await;
    assert_eq!(has(&discovered, Trouble::NotResolved), Verdict::Bad);
    assert_eq!(has(&discovered, Trouble::NoTimeRecord), Verdict::Bad);
}
