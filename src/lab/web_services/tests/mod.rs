//! The server from outside: what it gives, what it refuses, and what it does wrong when told to.

mod client;
mod description;
mod endorsement;
mod every_fault;
mod faults;
mod refusals;
mod sign_in;
mod store;
mod windows;

use super::Kind;
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

#[tokio::test]
async fn a_new_certificate_replaces_the_same_devices_old_one_and_no_other() {
    let lab = lab().await;
    let mut client = Client::connect(&lab).await;
    let alice = lab.users()[0].clone();
    let ticket = client.ticket(&alice).await;
    let (request, _) = signing_request(KeyKind::Rsa2048);
    let other = "8ca50061-9276-524f-a9b4-14011a2c5105";

    for device in [DEVICE, other, DEVICE] {
        let body = ticket.publish_body("alice@contoso.example", &request).replace(DEVICE, device);
        assert_eq!(client.publish(body).await.unwrap().status, 200);
    }

    let devices: Vec<String> = lab.store().list().iter().map(|entry| entry.device.to_string()).collect();
    assert_eq!(devices, [DEVICE, other]);
    assert_eq!(lab.counters().certificates, 3);
}
