//! Every fault of the web and the chain by its name, and what a client then sees on the wire.

use super::client::{Client, NegotiateClient, NtlmClient, Reply, Ticket, pin_header, rst_body, signing_request};
use crate::credential::KeyKind;
use crate::lab::faults::{Fault, Group};
use crate::lab::web_services::{Standing, StoreRule, WebServices};
use crate::lab::{Lab, LabOptions};
use secrecy::ExposeSecret;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use x509_parser::prelude::{FromDer, X509Certificate};

const CERTPROV: &str = "/CertProv/CertProvisioningService.svc";
const STS: &str = "/WebTicket/WebTicketService.svc";
const ALICE: &str = "alice@contoso.example";

/// One walk through everything, each step with a connection of its own. A step is `None` where one before it failed.
struct Walk {
    connected: Result<(), String>,
    metadata: Option<Reply>,
    ports: Option<Reply>,
    offered: Option<Vec<String>>,
    ticket: Option<Reply>,
    pin: Option<Reply>,
    published: Option<Reply>,
    again: Option<Reply>,
    chains: Option<Reply>,
    took: Duration,
}

impl Walk {
    async fn through(web: &WebServices) -> Self {
        let begun = Instant::now();
        let mut walk = Self {
            connected: Ok(()),
            metadata: None,
            ports: None,
            offered: None,
            ticket: None,
            pin: None,
            published: None,
            again: None,
            chains: Client::plain(web).await.root_chains().await.ok(),
            took: Duration::ZERO,
        };
        let alice = web.users()[0].clone();
        let mut client = match Client::try_connect(web).await {
            Ok(client) => client,
            Err(error) => return Self { connected: Err(error.to_string()), ..walk },
        };
        let get =
            |path: String| async move { Client::connect(web).await.send("GET", &path, &[], String::new()).await.ok() };
        walk.metadata = get(format!("{CERTPROV}/mex")).await;
        walk.ports = get(format!("{STS}/mex")).await;
        let mut anonymous = Client::connect(web).await;
        let asked = anonymous.send("POST", STS, &[], String::new()).await.ok();
        walk.offered = asked.map(|reply| {
            let offered = reply.headers.get_all("www-authenticate").iter();
            offered.map(|value| value.to_str().unwrap().to_owned()).collect()
        });
        let mut ntlm = NtlmClient::new(&alice.login, alice.password.expose_secret(), None);
        let body = client.rst_body(Some(&alice.sip.uri()));
        walk.ticket = client.try_windows("NTLM", &mut ntlm, body, |_| ()).await.ok();
        let header = pin_header(&alice.number, alice.pin.expose_secret());
        let action = ("soapaction", "http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue");
        let mut other = Client::connect(web).await;
        let body = rst_body(&other.publish_address(), None, &header);
        walk.pin = other.send("POST", &format!("{STS}/pin"), &[action], body).await.ok();
        if let Some(reply) = walk.ticket.as_ref().filter(|reply| reply.body.contains("</saml:Assertion>")) {
            let ticket = Ticket::from(reply);
            let (request, _) = signing_request(KeyKind::Rsa2048);
            walk.published = client.publish(ticket.publish_body(ALICE, &request)).await.ok();
            let mut once_more = Client::connect(web).await;
            walk.again = once_more.publish(ticket.publish_body(ALICE, &request)).await.ok();
        }
        walk.took = begun.elapsed();
        walk
    }

    fn published(&self) -> &Reply {
        self.published.as_ref().expect("the publication was answered")
    }

    fn metadata(&self) -> &str {
        &self.metadata.as_ref().expect("the metadata was answered").body
    }

    fn ports(&self) -> &str {
        &self.ports.as_ref().expect("the metadata was answered").body
    }

    fn ticket(&self) -> &Reply {
        self.ticket.as_ref().expect("the sign-in was answered")
    }

    fn is_done(&self) -> bool {
        self.published.as_ref().is_some_and(|reply| reply.body.contains("ResponseClass=\"Success\""))
    }

    /// Number and status of the publication's error.
    fn error(&self) -> (String, u16) {
        (self.published().text("ErrorId"), self.published().status)
    }
}

fn error(id: u32, status: u16) -> (String, u16) {
    (id.to_string(), status)
}

/// What is seen with one fault on, by the fault as it is written.
async fn judged(written: &str, lab: &Lab) -> bool {
    let web = lab.web();
    let walk = Walk::through(web).await;
    let refused = |why: &str| walk.connected.as_ref().is_err_and(|error| error.contains(why));
    let certificate = || walk.published().bytes("BinarySecurityToken");
    let standings = || -> Vec<Standing> { web.store().list_all().into_iter().map(|(_, standing)| standing).collect() };
    match written {
        "store-unavailable" => walk.error() == error(99006, 200) && web.store().list_all().is_empty(),
        "store-unavailable=1" => walk.error() == error(99006, 200) && standings() == [Standing::InForce],
        "store-unavailable=100%" => walk.error() == error(99006, 200) && web.store().list_all().is_empty(),
        "store-unavailable=0%" => walk.is_done(),
        "store-rule=keep-both" => standings() == [Standing::InForce; 2],
        "store-rule=refuse" => walk.again.unwrap().text("ErrorId") == "99008",
        "store-rule=one-per-user" => web.store().rule() == StoreRule::OnePerUser,
        "answer-lost=1" => walk.published.is_none() && standings().len() == 2,
        "closed-unread=publish:1" | "closed-undone=publish:1" => walk.published.is_none() && standings().len() == 1,
        "cut=publish:0" | "cut=publish:200" => {
            walk.published.is_none() && walk.again.is_none() && standings().len() == 2
        }
        "cut=metadata:300:1" => walk.metadata.is_none() && walk.is_done(),
        "cut=ticket:10" => walk.ticket.is_none() && walk.pin.is_none(),
        "slow=metadata:150" => walk.took >= Duration::from_millis(300) && walk.is_done(),
        "html=publish:503" => walk.published().status == 503 && walk.published().body.starts_with("<!DOCTYPE html>"),
        "html=metadata" => {
            let metadata = walk.metadata.as_ref().unwrap();
            metadata.status == 200 && metadata.header("content-type").starts_with("text/html")
        }
        "huge=metadata" => walk.metadata().len() > 8 << 20 && walk.ports().len() > 8 << 20,
        "truncated=publish" => !walk.published().body.contains("</s:Envelope>") && walk.published().status == 200,
        "dtd=metadata" => walk.metadata().contains("<!DOCTYPE x SYSTEM") && walk.metadata().contains("wsdl:port"),
        "entity-bomb=publish" => walk.published().body.contains("<!ENTITY e9") && walk.published().body.len() < 2000,
        "utf-16=metadata" => {
            let said = walk.metadata.as_ref().unwrap().header("content-type").ends_with("utf-16");
            said && walk.metadata().contains("encoding=\"utf-16\"")
        }
        "latin-1=metadata" => walk.metadata().ends_with("<!-- Gr\u{fffd}\u{fffd}e -->"),
        "error-in-header-positional" => {
            let header = "99010;\"fe02.contoso.example\";\"LAB: refused on purpose.\";\"wsse:FailedAuthentication\"";
            walk.published().header("x-ms-diagnostics") == header && walk.published().status == 403
        }
        "error-in-header=28032" => {
            let header =
                walk.published().header("x-ms-diagnostics").starts_with("28032;source=\"fe02.contoso.example\"");
            header && walk.published().body.is_empty()
        }
        "error-in-soap-fault" => {
            walk.error() == error(99010, 500) && walk.published().body.contains("OCSDiagnosticsFault")
        }
        "error-in-soap12-fault" => {
            walk.error() == error(99010, 500)
                && walk.published().body.contains("http://www.w3.org/2003/05/soap-envelope")
        }
        "error-in-reply=99006" => walk.error() == error(99006, 200) && walk.published().body.contains("<ErrorInfo>"),
        "not-sip-enabled" => {
            walk.ticket().status == 403 && walk.ticket().header("x-ms-diagnostics").starts_with("28000;")
        }
        "sign-in-broken" => {
            walk.ticket().status == 500 && walk.ticket().header("x-ms-diagnostics").starts_with("28001;")
        }
        "password-wrong" => walk.ticket().status == 401,
        "pin-wrong" => walk.pin.as_ref().unwrap().text("ErrorId") == "99001" && walk.is_done(),
        "pin-locked" => walk.pin.as_ref().unwrap().text("ErrorId") == "99002" && walk.is_done(),
        "key-size" => walk.error() == error(99004, 200),
        "entity-mismatch=1" => walk.error() == error(99005, 200) && standings().len() == 1,
        "ticket-invalid=1" => walk.error() == error(28032, 500) && standings().len() == 1,
        "ticket-expired=1" => walk.error() == error(99007, 500) && standings().len() == 1,
        "ticket-life=-1" => walk.error() == error(99007, 500),
        "ntlm-closed=1" => walk.ticket.is_none(),
        "ntlm-moved=1" => walk.ticket().status == 401 && walk.ticket().header("www-authenticate") == "Negotiate",
        "only-ntlm" => walk.offered.as_deref() == Some(&["NTLM".to_owned()]),
        "only-spnego" => {
            let alice = web.users()[0].clone();
            let password = alice.password.expose_secret();
            let mut client = Client::connect(web).await;
            let mut bare = NtlmClient::new(&alice.login, password, None);
            let bare = client.windows("Negotiate", &mut bare, client.rst_body(None), |_| ()).await;
            let mut spnego = NegotiateClient::new(&alice.login, password);
            let spnego = client.windows("Negotiate", &mut spnego, client.rst_body(None), |_| ()).await;
            (bare.status, spnego.status) == (401, 200)
        }
        "basic-offered" => walk.offered.unwrap().iter().any(|scheme| scheme.starts_with("Basic ")),
        "channel-binding-required" => walk.ticket().status == 401,
        "cert-port-sha256" => walk.ports().contains("<sp:Basic256Sha256/>"),
        "no-pin-port" => !walk.ports().contains("WebTicketServicePin") && walk.pin.unwrap().status == 404,
        "no-windows-port" => !walk.ports().contains("WinNegotiate") && walk.ticket().status == 404,
        "no-cert-port" => !walk.ports().contains("WebTicketServiceCert") && walk.is_done(),
        "metadata-http" => walk.metadata().contains("<soap:address location=\"http://localhost:"),
        "metadata-foreign-host" => walk.metadata().contains("<soap:address location=\"https://web.fabrikam.example/"),
        // The walk's second publication has no cookie and comes on an even connection.
        "front-end-ill=store" => walk.is_done() && walk.again.unwrap().text("ErrorId") == "99006",
        "front-end-ill=down" => walk.is_done() && walk.again.unwrap().status == 503,
        "front-end-ill=tickets" => walk.is_done() && walk.again.unwrap().text("ErrorId") == "28020",
        "clock=86400" => {
            let tomorrow = time::OffsetDateTime::now_utc() + time::Duration::days(1);
            let day = format!(" {:02} {} ", tomorrow.day(), &tomorrow.month().to_string()[..3]);
            walk.metadata.as_ref().unwrap().header("date").contains(&day) && walk.is_done()
        }
        "no-date" => walk.metadata.as_ref().unwrap().header("date").is_empty() && walk.is_done(),
        "other-prefixes" => {
            let read = |text| roxmltree::Document::parse(text).is_ok();
            walk.metadata().contains("<wsdl-2:port") && read(walk.metadata()) && read(walk.ports())
        }
        "wrapped-metadata" => walk.metadata().contains("<wsx:Metadata") && walk.is_done(),
        "pkcs7-first" => walk.published().body.matches("BinarySecurityToken>").count() == 2,
        "certificate-of-another-key" | "certificate-of-another-user" | "certificate-expired" | "certificate-life=7" => {
            let der = certificate();
            let (_, certificate) = X509Certificate::from_der(&der).unwrap();
            let left = certificate.validity().not_after.timestamp() - time::OffsetDateTime::now_utc().unix_timestamp();
            match written {
                "certificate-of-another-user" => certificate.subject().to_string() == "CN=mallory@contoso.example",
                "certificate-expired" => left < 0,
                "certificate-life=7" => (350..=420).contains(&left),
                _ => walk.is_done(),
            }
        }
        "chains=disabled" => walk.chains.as_ref().unwrap().status == 404 && walk.is_done(),
        "whole-chain" => walk.is_done() && walk.chains.as_ref().unwrap().body.contains("GetRootCertChainsResponse"),
        "missing-intermediate" | "no-issuer-address" | "unknown-root" => refused("UnknownIssuer"),
        "wrong-name" => refused("not valid for name"),
        "server-expired" | "intermediate-expired" => refused("expired"),
        "server-not-yet" => refused("not valid yet"),
        other => panic!("{other} has no row here"),
    }
}

/// Every fault with a value by which it shows.
const WRITTEN: &[&str] = &[
    "store-unavailable",
    "store-unavailable=1",
    "store-unavailable=100%",
    "store-unavailable=0%",
    "store-rule=keep-both",
    "store-rule=refuse",
    "store-rule=one-per-user",
    "answer-lost=1",
    "closed-unread=publish:1",
    "closed-undone=publish:1",
    "cut=publish:0",
    "cut=publish:200",
    "cut=metadata:300:1",
    "cut=ticket:10",
    "slow=metadata:150",
    "html=publish:503",
    "html=metadata",
    "huge=metadata",
    "truncated=publish",
    "dtd=metadata",
    "entity-bomb=publish",
    "utf-16=metadata",
    "latin-1=metadata",
    "error-in-header-positional",
    "error-in-header=28032",
    "error-in-soap-fault",
    "error-in-soap12-fault",
    "error-in-reply=99006",
    "not-sip-enabled",
    "sign-in-broken",
    "password-wrong",
    "pin-wrong",
    "pin-locked",
    "key-size",
    "entity-mismatch=1",
    "ticket-invalid=1",
    "ticket-expired=1",
    "ticket-life=-1",
    "ntlm-closed=1",
    "ntlm-moved=1",
    "only-ntlm",
    "only-spnego",
    "basic-offered",
    "channel-binding-required",
    "cert-port-sha256",
    "no-pin-port",
    "no-windows-port",
    "no-cert-port",
    "metadata-http",
    "metadata-foreign-host",
    "front-end-ill=store",
    "front-end-ill=down",
    "front-end-ill=tickets",
    "clock=86400",
    "no-date",
    "other-prefixes",
    "wrapped-metadata",
    "pkcs7-first",
    "certificate-of-another-key",
    "certificate-of-another-user",
    "certificate-expired",
    "certificate-life=7",
    "chains=disabled",
    "whole-chain",
    "missing-intermediate",
    "no-issuer-address",
    "unknown-root",
    "wrong-name",
    "server-expired",
    "server-not-yet",
    "intermediate-expired",
];

#[tokio::test]
async fn every_fault_does_on_the_wire_what_its_name_says() {
    let rows = WRITTEN.iter().map(async |written| {
        let faults = ["whole-chain", written].iter().map(|fault| fault.parse().unwrap()).collect();
        let options = LabOptions { phones: 0, fresh_keys: false, faults, ..LabOptions::default() };
        let lab = Lab::start(&options).await.unwrap();
        assert!(judged(written, &lab).await, "{written}: {:#?}", lab.web().requests());
    });
    futures_util::future::join_all(rows).await;
    let shown: BTreeSet<&str> = WRITTEN.iter().map(|written| written.split('=').next().unwrap()).collect();
    let listed: BTreeSet<&str> = Fault::all()
        .filter(|fault| [Group::Web, Group::Chain].contains(&fault.group))
        .map(|fault| fault.name)
        .collect();
    assert_eq!(shown, listed);
}

#[tokio::test]
async fn a_lab_without_faults_but_its_missing_intermediate_is_walked_through() {
    let lab = Lab::start(&LabOptions { phones: 0, fresh_keys: false, ..LabOptions::default() }).await.unwrap();
    assert!(judged("missing-intermediate", &lab).await);
    lab.web().present(&crate::lab::pki::ServerFaults::none()).unwrap();
    assert!(judged("whole-chain", &lab).await);
}
