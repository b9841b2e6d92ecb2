//! The server from outside: what it gives, and everything it refuses.

mod client;

use super::{Kind, Settings};
use crate::credential::KeyKind;
use client::{Client, DEVICE, lab, signing_request};
use x509_parser::prelude::{FromDer, X509Certificate};

#[tokio::test]
async fn metadata_then_ticket_then_certificate() {
    let lab = lab().await;
    let mut client = Client::connect(&lab).await;

    let certprov = client.get("/CertProv/CertProvisioningService.svc/mex").await;
    assert_eq!(certprov.text("Address"), format!("{}/WebTicket/WebTicketService.svc", client.origin));
    assert!(certprov.body.contains(&client.publish_address()));
    let sts = client.get("/webticket/webticketservice.svc/MEX").await;
    assert!(sts.body.contains("WebTicketServiceWinNegotiate") && sts.body.contains("WebTicketServicePin"));

    let alice = lab.users()[0].clone();
    let ticket = client.ticket(&alice).await;
    let (request, public_key) = signing_request(KeyKind::Rsa2048);
    let reply = client.publish(ticket.publish_body("Alice@contoso.example", &request)).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.text("RequestID"), "r&1");
    assert_eq!(reply.header("x-ms-server-fqdn"), "fe02.contoso.example");

    let der = reply.bytes("BinarySecurityToken");
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=alice@contoso.example");
    assert_eq!(certificate.issuer().to_string(), "CN=Communications Server");
    assert_eq!(certificate.public_key().raw, public_key);
    let stored = lab.store().get(&alice.sip, DEVICE.parse().unwrap()).unwrap();
    assert_eq!(stored.certificate, der);
    assert_eq!(lab.store().revoke(&alice.sip), 1);
    assert_eq!(lab.store().list(), []);

    let counters = lab.counters();
    assert_eq!((counters.connections, counters.tickets, counters.certificates), (1, 1, 1));
    assert_eq!(counters.requests[&Kind::NtlmTicket], 2);
}
