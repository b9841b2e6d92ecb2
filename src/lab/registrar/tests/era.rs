//! Clients that have nothing newer than TLS 1.0 inside TLS-DSK.

use super::client::lab;
use super::*;
use crate::registrar::challenge::{Offer, Scheme};

#[cfg(feature = "legacy-tls")]
#[tokio::test]
async fn a_client_of_tls_1_0_signs_in_and_is_signed_for_with_sha_1() {
    use super::client::{Keys, Signed};
    use crate::lab::registrar::tunnel::tests::old;
    use crate::lab::registrar::{Hash, Proof};
    use crate::registrar::challenge::Authentication;

    let lab = lab(&[]).await;
    let (certificate, key) = lab.enrolled(&alice()).await;
    let mut client = Client::connect(&lab).await;
    let target = client.offer().await.1.of(Scheme::TlsDsk).unwrap().targetname.clone();
    let mut tls = old::Client::new(openssl::ssl::SslVersion::TLS1, &certificate, &key);
    let (mut records, mut opaque) = (Vec::new(), None);
    while !tls.is_done() {
        let data = tls.step(&records);
        if data.is_empty() {
            break;
        }
        let answer = client.leg(Scheme::TlsDsk, &target, opaque.as_deref(), &data).await;
        let offer = Offer::read(&answer).unwrap();
        let challenge = offer.of(Scheme::TlsDsk).unwrap();
        (records, opaque) = (challenge.data.clone().unwrap(), challenge.opaque.clone());
    }
    let material = tls.key_material();
    let (client_key, server) = (material[64..96].to_vec(), material[96..].to_vec());
    let keys = Keys::Dsk { client: client_key, server, hash: Hash::Sha1 };
    client.signed = Some(Signed { scheme: Scheme::TlsDsk, opaque: opaque.unwrap(), target, keys, cnum: 0 });
    let request = client.request("REGISTER");
    let answer = client.serve(request).await;
    assert_eq!(answer.status(), Some(200));
    let info = Authentication::read(answer.header("Authentication-Info").unwrap()).unwrap();
    assert_eq!(info[0].get("rspauth").unwrap().len(), 40);
    let suite = "TLS_RSA_WITH_AES_256_CBC_SHA".to_owned();
    assert_eq!(lab.registrar().registrations()[0].proof, Proof::TlsDsk { tls: "TLS 1.0", cipher_suite: suite });
}

#[tokio::test]
async fn a_client_of_tls_1_0_is_offered_ntlm_again_where_old_tls_is_forbidden() {
    let lab = lab(&["inner-tls-modern"]).await;
    let mut client = Client::connect(&lab).await;
    let hello = crate::lab::registrar::tunnel::tests::plain_hello(0x0301, &[0x0004, 0x0005, 0x002f, 0x0035]);
    let answer = client.leg(Scheme::TlsDsk, "fe02.contoso.example", None, &hello).await;
    let offer = Offer::read(&answer).unwrap();
    assert_eq!((answer.status(), offer.names().as_str()), (Some(401), "NTLM, TLS-DSK"));
    assert!(offer.challenges.iter().all(|challenge| challenge.opaque.is_none()));
}
