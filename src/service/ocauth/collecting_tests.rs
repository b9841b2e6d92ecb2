//! Promises about collecting, against the lab's Web Services and a small plain http server.

use super::*;
use crate::credential::{Certificate, Thumbprint};
use crate::lab::keys::Keys;
use crate::lab::pki::{Pki, ServerFaults, certificates_only_pkcs7};
use crate::lab::web_services::{Options, User, WebServices};
use crate::service::server_trust::{Bag, Compared, Download, Met};
use crate::tls::fixture::{Authority, Sends};
use crate::tls::{Proxy, Resolve, TlsError, Trust};
use base64::Engine as _;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const WSSE: &str = super::names::WSSE;
const HOST: &str = "web.contoso.example";
static PKI: LazyLock<Arc<Pki>> = LazyLock::new(|| Arc::new(Pki::new(&Keys::recycled())));
/// A CA that nobody here trusts.
static OTHER: LazyLock<Authority> = LazyLock::new(Authority::new);

async fn lab(server_faults: ServerFaults) -> WebServices {
    let users = vec![User::new("alice@contoso.example".parse().unwrap(), "+12065551219")];
    let options = Options { server_faults, ..Options::new(Arc::clone(&PKI), users) };
    WebServices::start(options).await.unwrap()
}

fn settings(lab: &WebServices) -> Settings {
    let mut trust = Trust::only_given();
    trust.add_der("lab", PKI.root_der()).unwrap();
    let mut settings = Settings::new(lab.certprov_url(HOST), trust);
    settings.resolve = vec![Resolve { host: HOST.into(), port: lab.address().port(), address: lab.address() }];
    settings.proxy = Proxy::Straight;
    settings
}

/// A server of the other CA, which sends its whole chain and nothing else.
async fn stranger(name: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(OTHER.server(&[name], Sends::Everything, None));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = tls.accept(stream).await;
        }
    });
    address
}

/// Answers every request on plain http with `status` and `body`, and keeps what was asked.
async fn plain(status: u16, body: String) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"</soap:Envelope>") {
                let mut part = [0; 4096];
                let Ok(read @ 1..) = stream.read(&mut part).await else { break };
                request.extend_from_slice(&part[..read]);
            }
            keep.lock().unwrap().push(String::from_utf8(request).unwrap());
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    (address, asked)
}

fn answer(bags: &[&[&[u8]]]) -> String {
    let token = |bag: &&[&[u8]]| {
        let bag = base64::engine::general_purpose::STANDARD.encode(certificates_only_pkcs7(bag));
        format!("<wsse:BinarySecurityToken xmlns:wsse='{WSSE}'>\r\n {bag}\r\n</wsse:BinarySecurityToken>")
    };
    let tokens: String = bags.iter().map(token).collect();
    format!(
        "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body><GetRootCertChainsResponse \
         xmlns='http://schemas.microsoft.com/OCS/AuthWebServices/'>{tokens}</GetRootCertChainsResponse></s:Body></s:Envelope>"
    )
}

fn with_download(mut settings: Settings, http: SocketAddr, thumbprint: Option<Thumbprint>) -> Pool {
    settings.root_download = RootDownload { place: DownloadPlace::Usual, profile: Some(Profile::lab()), thumbprint };
    settings.resolve.push(Resolve { host: HOST.into(), port: 80, address: http });
    Pool::new(settings).unwrap()
}

async fn downloaded(http: SocketAddr, thumbprint: Option<Thumbprint>) -> Download {
    let lab = lab(ServerFaults::default()).await;
    with_download(settings(&lab), http, thumbprint).collect().await.download
}

fn root() -> Certificate {
    Certificate::from_der(PKI.root_der()).unwrap()
}

#[tokio::test]
async fn a_download_that_the_trusted_https_chain_ends_in_agrees() {
    let stranger = Certificate::from_der(PKI.users().certificate_der()).unwrap();
    let server = PKI.server(&ServerFaults::none(), "http://x/").presented[0].clone();
    let bags: [&[&[u8]]; 2] = [&[PKI.root_der(), PKI.issuing_der()], &[stranger.der(), &server, PKI.root_der()]];
    let (http, asked) = plain(200, answer(&bags)).await;
    let download = downloaded(http, None).await;
    let chains = download.got().unwrap();
    assert_eq!(chains.https, Compared::Agrees { root: Box::new(root()), sure: true });
    assert_eq!((chains.thumbprint.clone(), chains.contradiction()), (Compared::Nothing, None));
    assert_eq!(chains.bag.roots, [root(), stranger.clone()]);
    assert!(chains.confirms(&root()) && !chains.confirms(&stranger), "what nobody confirms stays unconfirmed");
    assert_eq!(chains.hints().len(), 1);
    assert_eq!(chains.bag.ignored, ["web.contoso.example is the certificate of no CA"]);
    let asked = asked.lock().unwrap()[0].to_lowercase();
    assert!(
        asked.starts_with("post /certprov/certprovisioningservice.svc http/1.1") && !asked.contains("authorization")
    );
}

#[tokio::test]
async fn a_download_with_another_root_contradicts_and_nothing_of_it_is_used() {
    let (http, _) = plain(200, answer(&[&[&OTHER.root_der(), &OTHER.intermediate_der()]])).await;
    let download = downloaded(http, None).await;
    let chains = download.got().unwrap();
    assert!(chains.contradiction().unwrap().starts_with("no root in it signed the chain of web.contoso.example"));
    assert_eq!(chains.hints(), []);
    assert!(!chains.confirms(&chains.bag.roots[0]));
}

#[tokio::test]
async fn the_operators_thumbprint_confirms_or_contradicts() {
    let (http, _) = plain(200, answer(&[&[PKI.root_der()]])).await;
    for right in [root().sha1_thumbprint(), Thumbprint::Sha256(root().fingerprint())] {
        let download = downloaded(http, Some(right)).await;
        assert_eq!(download.got().unwrap().thumbprint, Compared::Agrees { root: Box::new(root()), sure: true });
    }
    let wrong = Certificate::from_der(&OTHER.root_der()).unwrap().sha1_thumbprint();
    let download = downloaded(http, Some(wrong)).await;
    let chains = download.got().unwrap();
    assert!(chains.thumbprint.differs() && !chains.https.differs());
    assert!(chains.contradiction().unwrap().contains(&wrong.to_string()));
    assert!(!chains.confirms(&root()), "one contradiction is enough");
}

#[tokio::test]
async fn two_answers_that_nothing_vouches_for_may_agree_and_confirm_nothing() {
    let (http, _) = plain(200, answer(&[&[PKI.root_der(), PKI.issuing_der()]])).await;
    let lab = lab(ServerFaults::none()).await;
    let mut settings = settings(&lab);
    settings.trust = Trust::only_given();
    settings.trust.add_der("other", &OTHER.root_der()).unwrap();
    let collected = with_download(settings, http, None).collect().await;
    assert!(matches!(collected.web.met, Met::Distrusted { .. }));
    let chains = collected.download.got().unwrap();
    assert!(matches!(&chains.https, Compared::Agrees { sure: false, .. }));
    assert!(!chains.confirms(&chains.bag.roots[0]));
}

#[tokio::test]
async fn a_download_that_cannot_be_had_says_why() {
    let fault = "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body><s:Fault>\
                 <faultcode>s:Client</faultcode><faultstring>disabled</faultstring></s:Fault></s:Body></s:Envelope>";
    let mut many = Vec::new();
    many.resize(100, PKI.root_der());
    for (status, body, said) in [
        (404, "<html>".to_owned(), "the server answered HTTP 404"),
        (302, String::new(), "the server answered HTTP 302"),
        (500, fault.to_owned(), "the server answered HTTP 500: disabled"),
        (200, "<html>".to_owned(), "the answer cannot be read"),
        (200, answer(&[]), "the answer cannot be read"),
        (200, answer(&[&many]), "the answer cannot be read"),
        (
            200,
            answer(&[]).replace(
                "></Get",
                &format!("><B:BinarySecurityToken xmlns:B='{WSSE}'>AAAA</B:BinarySecurityToken></Get"),
            ),
            "the answer cannot",
        ),
        (200, " ".repeat(2 << 20), "the answer is longer than 1024 KiB"),
    ] {
        let (http, _) = plain(status, body).await;
        let Download::Failed { url, error } = downloaded(http, None).await else { panic!("{said}") };
        assert_eq!(url, format!("http://{HOST}/CertProv/CertProvisioningService.svc"));
        assert!(error.to_string().starts_with(said), "{error}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let Download::Failed { error, .. } = downloaded(closed, None).await else { panic!() };
    assert!(matches!(&*error, DownloadError::Unanswered(_)));
}

#[tokio::test]
async fn without_a_profile_nothing_is_asked_over_plain_http() {
    let (http, asked) = plain(200, String::new()).await;
    let lab = lab(ServerFaults::default()).await;
    let mut settings = settings(&lab);
    settings.resolve.push(Resolve { host: HOST.into(), port: 80, address: http });
    settings.root_download.place = DownloadPlace::Usual;
    let collected = Pool::new(settings).unwrap().collect().await;
    assert!(matches!(collected.download, Download::NotAsked));
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn every_server_that_is_given_is_found_or_its_reason_is() {
    let (web, registrar) = (lab(ServerFaults::default()).await, stranger("localhost").await);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut settings = settings(&web);
    for (host, port, address) in [("localhost", 5061, registrar), ("mail.contoso.example", 443, closed)] {
        settings.also_servers.push((host.into(), port));
        settings.resolve.push(Resolve { host: host.into(), port, address });
    }
    let pool = Pool::new(settings).unwrap();
    let survey = crate::service::Enrolment::survey(&mut pool.enrolment()).await.unwrap();
    let [registrar, mail] = &survey.also[..] else { panic!("{:?}", survey.also) };
    assert_eq!((registrar.address().as_str(), registrar.presented().len()), ("localhost:5061", 2));
    assert!(matches!(&registrar.met, Met::Distrusted { .. }));
    assert_eq!(registrar.completed(), [] as [Vec<u8>; 0]);
    let Met::Unreachable(error) = &mail.met else { panic!("{mail:?}") };
    assert!(matches!(&**error, TlsError::Refused { port: 443, .. }));
}

#[test]
fn a_bag_is_sorted_by_what_its_certificates_are() {
    let forged = vec![0x30, 0x03, 1, 2, 3];
    let bag = Bag::sorted([PKI.issuing_der().to_vec(), forged, PKI.root_der().to_vec(), PKI.root_der().to_vec()]);
    assert_eq!((bag.roots, bag.intermediates.len()), (vec![root()], 1));
    assert_eq!(bag.ignored.len(), 1);
}

proptest::proptest! {
    #[test]
    fn any_answer_is_read_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400), at in 0usize..600) {
        let profile = Profile::lab();
        let profile = profile.root_chains().unwrap();
        let _ = root_chains::read(&bytes, profile);
        let mut message = answer(&[&[&[0x30, 0]]]).into_bytes();
        let at = at.min(message.len());
        message.splice(at..at, bytes.iter().copied());
        let _ = root_chains::read(&message, profile);
    }
}
