//! What anybody may ask without a credential: descriptions, root chains, and by which addresses.

use super::client::{Client, lab};
use crate::lab::web_services::{ChainsFault, Kind};
use x509_parser::prelude::{FromDer, X509Certificate};

const CERTPROV: &str = "/CertProv/CertProvisioningService.svc";
const STS: &str = "/WebTicket/WebTicketService.svc";

/// Every address that a document imports.
fn imports(xml: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(xml).unwrap();
    let attribute = |node: roxmltree::Node<'_, '_>| match node.tag_name().name() {
        "import" => node.attribute("location").or(node.attribute("schemaLocation")).map(str::to_owned),
        _ => None,
    };
    document.descendants().filter_map(attribute).collect()
}

#[tokio::test]
async fn a_description_in_parts_can_be_followed_to_its_end_and_says_what_the_whole_one_says() {
    let lab = lab().await;
    let mut client = Client::connect(&lab).await;
    for (service, operation) in [(CERTPROV, "GetAndPublishCert"), (STS, "IssueToken")] {
        let mut wanted = vec![format!("{service}?wsdl")];
        let mut read = String::new();
        while let Some(address) = wanted.pop() {
            let path = address.strip_prefix(&client.origin).unwrap_or(&address).to_owned();
            let part = client.get(&path).await;
            assert_eq!((part.status, part.header("content-type")), (200, "text/xml; charset=utf-8"), "{path}");
            wanted.extend(imports(&part.body));
            read.push_str(&part.body);
        }
        let whole = client.get(&format!("{service}?singleWsdl")).await.body;
        let metadata = client.get(&format!("{service}/mex")).await.body;
        assert_eq!(whole, metadata);
        for text in [&read, &whole] {
            assert!(text.contains(&format!("<wsdl:operation name=\"{operation}\">")));
            assert!(
                text.contains("_policy\">") && text.contains("<soap:address location=") && text.contains("<xsd:schema")
            );
        }
    }
    assert_eq!(client.get(&format!("{CERTPROV}?xsd=xsd1")).await.status, 404);
    assert_eq!(lab.counters().requests[&Kind::Wsdl], 9);
}

#[tokio::test]
async fn the_root_chains_come_in_the_clear_and_are_those_of_https() {
    let lab = lab().await;
    let mut client = Client::plain(&lab).await;
    let reply = client.root_chains().await.unwrap();
    assert_eq!(reply.status, 200);
    let pkcs7 = reply.bytes("BinarySecurityToken");
    let holds = |der: &[u8]| pkcs7.windows(der.len()).any(|window| window == der);
    assert!(holds(lab.service.pki.root_der()));
    let issuing = &lab.service.server_chain()[1];
    assert!(holds(issuing));
    assert!(!holds(&Client::connect(&lab).await.server), "no end-entity certificate");
    assert_eq!(lab.requests().last().map(|request| (request.kind, request.connection)), Some((Kind::RootChains, 0)));
    assert!(lab.root_chains_url("localhost").starts_with("http://localhost:"));

    assert!(
        client
            .get(&format!("{CERTPROV}/mex"))
            .await
            .body
            .contains(&format!("https://127.0.0.1:{}", lab.address().port()))
    );
    // Nothing that takes a secret is served in the clear, and the download not over https.
    assert_eq!(client.rst(&format!("{STS}/pin"), None, String::new()).await.status, 404);
    assert_eq!(client.publish(String::new()).await.unwrap().status, 404);
    assert_eq!(Client::connect(&lab).await.root_chains().await.unwrap().status, 404);
}

#[tokio::test]
async fn the_download_can_be_switched_off_or_lie() {
    let lab = lab().await;
    let mut client = Client::plain(&lab).await;
    lab.faults().chains = ChainsFault::Disabled;
    assert_eq!(client.root_chains().await.unwrap().status, 404);
    lab.faults().chains = ChainsFault::OtherRoot;
    let other = client.root_chains().await.unwrap().bytes("BinarySecurityToken");
    let root = lab.service.pki.root_der();
    assert!(!other.windows(root.len()).any(|window| window == root));
    let subject = X509Certificate::from_der(root).unwrap().1.subject().as_raw().to_vec();
    assert!(other.windows(subject.len()).any(|window| window == subject), "by the same name");
    lab.faults().chains = ChainsFault::Garbage;
    assert_eq!(client.root_chains().await.unwrap().bytes("BinarySecurityToken"), b"LAB: no PKCS#7");
    lab.faults().chains = ChainsFault::Huge;
    assert!(client.root_chains().await.unwrap().body.len() > 8 << 20);
}

#[tokio::test]
async fn ipv6_leads_to_the_same_service_on_the_same_port() {
    let lab = lab().await;
    let address = lab.ipv6_address().expect("a test computer has ::1");
    assert_eq!(address.port(), lab.address().port());
    let mut client = Client::connect_to(&lab, address, "::1").await.unwrap();
    let metadata = client.get(&format!("{STS}/mex")).await.body;
    assert!(metadata.contains(&format!("https://[::1]:{}{STS}", address.port())));
    let ticket = client.ticket(&lab.users()[0].clone()).await;
    let (request, _) = super::client::signing_request(crate::credential::KeyKind::Rsa2048);
    let reply = client.publish(ticket.publish_body("alice@contoso.example", &request)).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
}
