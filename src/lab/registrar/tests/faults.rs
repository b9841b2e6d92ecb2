//! Every fault of the registrar, as a client that is right sees it.

use super::client::{Keys, lab};
use super::*;
use crate::lab::faults::{Fault, Group};
use crate::lab::{Lab, registrar::Hash};
use crate::registrar::challenge::{Authentication, Scheme};
use std::time::Duration;

/// A REGISTER's answer after a handshake that came to its end, signed or not.
async fn last_answer(lab: &Lab, client: &mut Client) -> crate::registrar::message::Message {
    let (certificate, key) = lab.enrolled(&alice()).await;
    client.shake(&certificate, &key).await.unwrap();
    let request = client.request("REGISTER");
    let request = client.signed(request);
    client.ask(&request).await
}

/// What a client sees of one fault; whether it is what the list says.
async fn shows(written: &str, lab: &Lab) -> bool {
    let (certificate, key) = lab.enrolled(&alice()).await;
    let mut client = Client::connect(lab).await;
    match written {
        "not-replicated=1" => {
            let first = client.shake(&certificate, &key).await.is_err();
            first && client.sign_in(&certificate, &key).await.status() == Some(200)
        }
        "replication-delay=3600" => {
            let late = client.shake(&certificate, &key).await.is_err();
            // A publication of an hour ago has arrived.
            lab.registrar().faults().replication_delay = time::Duration::seconds(60);
            late && client.sign_in(&certificate, &key).await.status() == Some(200)
        }
        "front-end-unaware" => {
            let mut other = Client::connect(lab).await;
            let second = other.shake(&certificate, &key).await.is_err();
            second && client.sign_in(&certificate, &key).await.status() == Some(200)
        }
        "homed-elsewhere" => {
            let answer = client.sign_in(&certificate, &key).await;
            let contact = format!("<sip:localhost:{};transport=tls>", lab.registrar().home().port());
            let mut home = Client::connect_to(lab, lab.registrar().home()).await;
            let there = home.sign_in(&certificate, &key).await;
            let target = home.signed.unwrap().target;
            (answer.status(), answer.header("Contact")) == (Some(301), Some(&contact))
                && (there.status(), target.as_str()) == (Some(200), "fe01.contoso.example")
        }
        "wrong-rspauth" => {
            let answer = last_answer(lab, &mut client).await;
            answer.status() == Some(200) && answer.header("Authentication-Info").is_some() && !client.verifies(&answer)
        }
        "unsigned-answers" => {
            let answer = last_answer(lab, &mut client).await;
            answer.status() == Some(200) && answer.header("Authentication-Info").is_none()
        }
        "repeated-snum" => {
            client.sign_in(&certificate, &key).await;
            let request = client.request("OPTIONS");
            let answer = client.serve(request).await;
            let info = Authentication::read(answer.header("Authentication-Info").unwrap()).unwrap();
            info[0].get("snum") == Some("1")
        }
        "association-dropped=1" => {
            let signed_in = client.sign_in(&certificate, &key).await.status() == Some(200);
            let request = client.request("REGISTER");
            let request = client.signed(request);
            let dropped = client.ask(&request).await.status() == Some(401);
            signed_in && dropped && client.sign_in(&certificate, &key).await.status() == Some(200)
        }
        "association-life=0" => {
            client.shake(&certificate, &key).await.unwrap();
            let request = client.request("REGISTER");
            let request = client.signed(request);
            client.ask(&request).await.status() == Some(401)
        }
        "version-3" => {
            client.shake(&certificate, &key).await.unwrap().header("WWW-Authenticate").unwrap().contains("=3")
        }
        "hash=sha1" => {
            client.shake(&certificate, &key).await.unwrap();
            if let Keys::Dsk { hash, .. } = &mut client.signed.as_mut().unwrap().keys {
                assert_eq!(std::mem::replace(hash, Hash::Sha1), Hash::Sha384);
            }
            let request = client.request("REGISTER");
            client.serve(request).await.status() == Some(200)
        }
        "expires=30" => client.sign_in(&certificate, &key).await.header("Expires") == Some("30"),
        "no-expires" => {
            let answer = client.sign_in(&certificate, &key).await;
            answer.status() == Some(200) && answer.header("Expires").is_none()
        }
        "registrar-clock=-86400" => {
            let (answer, _) = client.offer().await;
            let yesterday = time::OffsetDateTime::now_utc() - time::Duration::days(1);
            answer.header("Date").unwrap().contains(&format!(", {:02} ", yesterday.day()))
        }
        // A handshake with rustls, which judges the certificate: its panic is the test's.
        "inner-wrong-name" | "inner-unknown-root" => {
            let shaking = tokio::spawn(async move { client.shake(&certificate, &key).await.is_ok() });
            let panic = shaking.await.unwrap_err().into_panic();
            let said = panic.downcast_ref::<String>().unwrap();
            said.contains(if written == "inner-wrong-name" { "NotValidForName" } else { "UnknownIssuer" })
        }
        "inner-tls-modern" => {
            let hello = crate::lab::registrar::tunnel::tests::plain_hello(0x0301, &[0x002f]);
            let answer = client.leg(Scheme::TlsDsk, "fe02.contoso.example", None, &hello).await;
            let refused = answer.header("WWW-Authenticate").is_some_and(|line| !line.contains("opaque"));
            refused && client.sign_in(&certificate, &key).await.status() == Some(200)
        }
        "no-tls-dsk" => client.offer().await.1.names() == "NTLM",
        "no-ntlm" => client.offer().await.1.names() == "TLS-DSK",
        "kerberos-offered" => client.offer().await.1.names() == "NTLM, Kerberos, TLS-DSK",
        "asks-as-proxy" => {
            let request = client.request("REGISTER");
            let answer = client.ask(&request).await;
            answer.status() == Some(407) && answer.header("Proxy-Authenticate").is_some()
        }
        "user-disabled" => {
            let answer = client.sign_in(&certificate, &key).await;
            answer.status() == Some(403) && answer.header("ms-diagnostics").unwrap().starts_with("99020;")
        }
        "user-not-found" => {
            let answer = client.sign_in(&certificate, &key).await;
            answer.status() == Some(404) && answer.header("ms-diagnostics").unwrap().starts_with("4005;")
        }
        "registrar-unavailable=503" | "registrar-unavailable=504" => {
            let (answer, _) = client.offer().await;
            let (status, id) = if written.ends_with('3') { (503, "99021;") } else { (504, "1007;") };
            answer.status() == Some(status) && answer.header("ms-diagnostics").unwrap().starts_with(id)
        }
        "registrar-refuses" => {
            let (answer, _) = client.offer().await;
            answer.status() == Some(403) && answer.header("ms-diagnostics").is_none()
        }
        "registrar-hangs=1" => {
            client.offer().await;
            let request = client.request("REGISTER");
            client.send(&request).await;
            // It is in the record when it has been dropped.
            while lab.registrar().requests().len() < 2 {
                tokio::task::yield_now().await;
            }
            lab.registrar().requests().pop().unwrap().status.is_none()
        }
        other => panic!("{other} has no row here"),
    }
}

#[tokio::test]
async fn every_fault_of_the_registrar_shows_what_the_list_says() {
    let with_values = [
        ("not-replicated", "=1"),
        ("replication-delay", "=3600"),
        ("association-dropped", "=1"),
        ("association-life", "=0"),
        ("hash", "=sha1"),
        ("expires", "=30"),
        ("registrar-clock", "=-86400"),
        ("registrar-unavailable", "=503"),
        ("registrar-hangs", "=1"),
    ];
    let all = Fault::all().filter(|fault| fault.group == Group::Registrar).map(|fault| {
        let value = with_values.iter().find(|(name, _)| *name == fault.name).map_or("", |(_, value)| value);
        format!("{}{value}", fault.name)
    });
    for written in all.chain(["registrar-unavailable=504".to_owned()]) {
        let lab = lab(&[&written]).await;
        let shown = tokio::time::timeout(Duration::from_secs(60), shows(&written, &lab)).await;
        assert_eq!(shown, Ok(true), "{written}");
        assert!(lab.ready().faults.contains(&written));
    }
}

#[tokio::test]
async fn a_client_that_is_told_version_4_signs_by_the_suites_hash() {
    let lab = lab(&[]).await;
    let mut client = Client::connect(&lab).await;
    assert_eq!(last_answer(&lab, &mut client).await.status(), Some(200));
    assert_eq!(lab.registrar().registrations()[0].hash, Some(Hash::Sha384));
    assert_eq!(client.signed.unwrap().scheme, Scheme::TlsDsk);
}
