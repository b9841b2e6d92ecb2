//! What a second publication does, by each rule of the store; and two front ends of which one is ill.

use super::client::{Client, DEVICE, Ticket, lab, lab_with, signing_request};
use crate::credential::{Fingerprint, KeyKind};
use crate::lab::web_services::{Ailment, FrontEnd, FrontEnds, Illness, Settings, Standing, StoreRule, WebServices};

const ALICE: &str = "alice@contoso.example";
const OTHER: &str = "8ca50061-9276-524f-a9b4-14011a2c5105";

async fn ready(lab: &WebServices) -> (Client, Ticket, Vec<u8>) {
    let mut client = Client::connect(lab).await;
    let ticket = client.ticket(&lab.users()[0].clone()).await;
    (client, ticket, signing_request(KeyKind::Rsa2048).0)
}

fn standings(lab: &WebServices) -> Vec<Standing> {
    lab.store().list_all().into_iter().map(|(_, standing)| standing).collect()
}

#[tokio::test]
async fn what_a_second_publication_does_is_the_stores_rule() {
    use Standing::{InForce, Replaced};
    for (rule, after) in [
        (StoreRule::Replace, vec![Replaced, InForce]),
        (StoreRule::KeepBoth, vec![InForce, InForce]),
        (StoreRule::DeDuplicate, vec![InForce]),
        (StoreRule::OnePerUser, vec![Replaced, InForce]),
    ] {
        let lab = lab().await;
        lab.store().set_rule(rule);
        let (mut client, ticket, request) = ready(&lab).await;
        let first = client.publish(ticket.publish_body(ALICE, &request)).await.unwrap().bytes("BinarySecurityToken");
        let second = client.publish(ticket.publish_body(ALICE, &request)).await.unwrap().bytes("BinarySecurityToken");
        assert_eq!(standings(&lab), after, "{rule:?}");
        assert_eq!(first == second, rule == StoreRule::DeDuplicate);
        let found = |certificate: &[u8]| lab.store().find(Fingerprint::of(certificate)).is_some();
        assert!(found(&second), "the last certificate that a client was given is in force by every rule");
        assert_eq!(found(&first), matches!(rule, StoreRule::KeepBoth | StoreRule::DeDuplicate));
        assert_eq!(lab.counters().certificates, after.len() as u64);
    }
}

#[tokio::test]
async fn a_de_duplicating_store_knows_a_repetition_by_request_device_and_request_id() {
    let lab = lab().await;
    lab.store().set_rule(StoreRule::DeDuplicate);
    let (mut client, ticket, request) = ready(&lab).await;
    let body = || ticket.publish_body(ALICE, &request);
    for other in [
        body(),
        body(),
        body().replace("r&amp;1", "r2"),
        body().replace(DEVICE, OTHER),
        ticket.publish_body(ALICE, &signing_request(KeyKind::Rsa2048).0),
    ] {
        assert_eq!(client.publish(other).await.unwrap().status, 200);
    }
    assert_eq!(standings(&lab), [Standing::Replaced, Standing::Replaced, Standing::InForce, Standing::InForce]);
}

#[tokio::test]
async fn a_store_that_refuses_a_second_publication_keeps_the_first() {
    let lab = lab().await;
    lab.store().set_rule(StoreRule::Refuse);
    let (mut client, ticket, request) = ready(&lab).await;
    assert_eq!(client.publish(ticket.publish_body(ALICE, &request)).await.unwrap().status, 200);
    let again = client.publish(ticket.publish_body(ALICE, &request)).await.unwrap();
    assert_eq!((again.status, again.text("ErrorId").as_str()), (200, "99008"));
    let other = ticket.publish_body(ALICE, &request).replace(DEVICE, OTHER);
    assert!(client.publish(other).await.unwrap().body.contains("Success"));
    assert_eq!(standings(&lab), [Standing::InForce, Standing::InForce]);
    let alice = lab.users()[0].sip.clone();
    assert_eq!(lab.store().revoke(&alice), 2);
    assert_eq!(standings(&lab), [Standing::Revoked, Standing::Revoked]);
    assert!(client.publish(ticket.publish_body(ALICE, &request)).await.unwrap().body.contains("Success"));
}

#[tokio::test]
async fn one_certificate_for_each_user_ends_those_of_the_users_other_devices() {
    let lab = lab().await;
    lab.store().set_rule(StoreRule::OnePerUser);
    let (mut client, ticket, request) = ready(&lab).await;
    let body = || ticket.publish_body(ALICE, &request);
    client.publish(body().replace(DEVICE, OTHER)).await.unwrap();
    client.publish(body()).await.unwrap();
    let devices: Vec<String> = lab.store().list().iter().map(|entry| entry.device.to_string()).collect();
    assert_eq!(devices, [DEVICE]);
}

async fn two_front_ends() -> WebServices {
    lab_with(Settings { front_ends: FrontEnds::Two, ..Settings::default() }).await
}

#[tokio::test]
async fn of_two_front_ends_the_cookie_decides_and_without_one_the_connection() {
    let lab = two_front_ends().await;
    let path = "/CertProv/CertProvisioningService.svc/mex";
    let mut first = Client::connect(&lab).await;
    assert_eq!(first.get(path).await.header("x-ms-server-fqdn"), "fe02.contoso.example");
    let mut second = Client::connect(&lab).await;
    assert_eq!(second.get(path).await.header("x-ms-server-fqdn"), "fe01.contoso.example");
    second.cookie = first.cookie.clone();
    assert_eq!(second.get(path).await.header("x-ms-server-fqdn"), "fe02.contoso.example");
    assert_eq!(lab.requests().last().unwrap().server, FrontEnd::Fe02);
}

#[tokio::test]
async fn one_ill_front_end_fails_in_its_own_name_and_the_other_does_not() {
    let lab = two_front_ends().await;
    let (mut well, ticket, request) = ready(&lab).await;
    let mut ill = Client::connect(&lab).await;
    let body = || ticket.publish_body(ALICE, &request);

    lab.faults().ill = Some(Illness { server: FrontEnd::Fe01, what: Ailment::Tickets });
    let reply = ill.publish(body()).await.unwrap();
    assert_eq!((reply.status, reply.text("ErrorId").as_str()), (500, "28020"));
    assert!(reply.header("x-ms-diagnostics").contains("source=\"fe01.contoso.example\""));

    lab.faults().ill = Some(Illness { server: FrontEnd::Fe01, what: Ailment::Store });
    let reply = ill.publish(body()).await.unwrap();
    assert_eq!((reply.text("ErrorId").as_str(), reply.header("x-ms-server-fqdn")), ("99006", "fe01.contoso.example"));

    lab.faults().ill = Some(Illness { server: FrontEnd::Fe01, what: Ailment::Down });
    assert_eq!(ill.publish(body()).await.unwrap().status, 503);
    assert_eq!(lab.store().list(), []);
    assert!(well.publish(body()).await.unwrap().body.contains("Success"));

    // Without its cookie the ill connection is still the ill server's; with the other's it is well.
    ill.cookie = well.cookie.clone();
    assert!(ill.publish(body()).await.unwrap().body.contains("Success"));
}
