//! What a job promises when the phone has to trust more than the Web Services.

use crate::bench::{Answers, Bench, HOST, done, not_done, pool_settings, told};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::net::SocketAddr;
use std::sync::Arc;
use tethercert::credential::Certificate;
use tethercert::ledger::{self, Filter};
use tethercert::provision::{Event, ServerJudgement, Stage, Standing};
use tethercert::service::ocauth::{DownloadPlace, Pool};
use tethercert::tls::{Proxy, Resolve};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const SIP: &str = "sip.contoso.example";

/// A CA of its own, as a registrar or an Exchange server may have one.
struct OtherCa {
    root: CertifiedIssuer<'static, KeyPair>,
    issuing: CertifiedIssuer<'static, KeyPair>,
}

#[derive(Clone, Copy, PartialEq)]
enum Server {
    Sound,
    OmitsIntermediate,
    OtherName,
    Expired,
}

impl OtherCa {
    fn new() -> Self {
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(ca("Fabrikam Root CA"), key()).unwrap();
        let issuing = CertifiedIssuer::signed_by(ca("Fabrikam Issuing CA"), key(), &root).unwrap();
        Self { root, issuing }
    }

    /// The root's certificate of before: same name, same key, and over since 2020.
    fn old_root(&self) -> Vec<u8> {
        let mut params = ca("Fabrikam Root CA");
        (params.not_before, params.not_after) = (datetime!(2000-05-30 00:00 UTC), datetime!(2020-05-30 00:00 UTC));
        params.self_signed(self.root.key()).unwrap().der().to_vec()
    }

    /// Speaks TLS as `sip.contoso.example` and then nothing, as a registrar does to whom nobody talks.
    async fn server(&self, kind: Server) -> SocketAddr {
        let name = if kind == Server::OtherName { "other.contoso.example" } else { SIP };
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if kind == Server::Expired {
            params.not_after = OffsetDateTime::now_utc() - Duration::days(1);
        }
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &self.issuing).unwrap();
        let mut chain = vec![own.der().clone()];
        if kind != Server::OmitsIntermediate {
            chain.push(self.issuing.der().clone());
        }
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tls = tls.clone();
                tokio::spawn(async move { tls.accept(stream).await.map(drop) });
            }
        });
        address
    }
}

fn ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// A bench whose pool names a registrar at `registrar`, and whose computer trusts `roots` too.
async fn bench(registrar: SocketAddr, roots: &[&[u8]]) -> Bench {
    let mut bench = Bench::new().await;
    let mut settings = pool_settings(&bench.lab);
    settings.also_servers.push((SIP.into(), 5061));
    settings.resolve.push(Resolve { host: SIP.into(), port: 5061, address: registrar });
    roots.iter().for_each(|root| settings.trust.add_der("given", root).unwrap());
    bench.pool = Pool::new(settings).unwrap();
    bench
}

fn judgements<'a>(answers: &'a Answers<'_>) -> Vec<&'a ServerJudgement> {
    let judgements = answers.events.iter().filter_map(|event| match event {
        Event::Server(judgement) => Some(judgement),
        _ => None,
    });
    judgements.collect()
}

fn notices<'a>(answers: &'a Answers<'_>) -> Vec<&'a str> {
    let notices = answers.events.iter().filter_map(|event| match event {
        Event::Notice { text } => Some(text.as_str()),
        _ => None,
    });
    notices.collect()
}

#[tokio::test]
async fn a_pool_at_an_ipv6_address_is_judged_for_the_phone_by_that_address() {
    let mut bench = Bench::new().await;
    let mut settings = pool_settings(&bench.lab);
    settings.certprov_url = bench.lab.web().certprov_url("[::1]");
    settings.resolve = vec![Resolve {
        host: "::1".into(),
        port: bench.lab.web().address().port(),
        address: bench.lab.web().address(),
    }];
    bench.pool = Pool::new(settings).unwrap();
    done(bench.run(&bench.job(), &mut bench.answers()).await);
}

#[tokio::test]
async fn a_phone_gets_the_trust_for_every_server_at_once_and_it_is_shown_to_suffice() {
    let other = OtherCa::new();
    let bench = bench(other.server(Server::Sound).await, &[other.root.der()]).await;
    let mut answers = bench.answers();
    let receipt = done(bench.run(&bench.job(), &mut answers).await);
    assert_eq!((receipt.verified.anchors().len(), receipt.verified.intermediates().len()), (2, 1));
    assert!(receipt.traffic.exchanges <= 8, "{:?}", receipt.traffic);

    let [before, web, registrar] = judgements(&answers)[..] else { panic!("{:?}", answers.events) };
    assert_eq!((before.standing, before.server.as_str()), (Standing::NotTrusted, "sip.contoso.example:5061"));
    assert_eq!(before.text, "refused: the root Fabrikam Root CA is not among the phone's trust anchors");
    assert!(web.server.starts_with(HOST) && web.standing == Standing::Trusted, "{web:?}");
    assert_eq!(registrar.standing, Standing::Trusted);
    assert_eq!(registrar.text, "good: sip.contoso.example → Fabrikam Issuing CA → Fabrikam Root CA");
    let trust = receipt.steps.iter().find(|step| step.step == Stage::Trust).unwrap();
    assert!(trust.text.contains("root Fabrikam Root CA: added"), "{}", trust.text);
    let events = bench.ledger.events(Filter::default()).await.unwrap();
    let judged = events.iter().filter(|it| matches!(it.event, ledger::Event::ServerJudged { .. })).count();
    assert_eq!(judged, 2);

    let again = done(bench.run(&bench.job(), &mut bench.answers()).await);
    assert!(again.unchanged);
}

#[tokio::test]
async fn what_the_registrar_omits_is_given_where_the_operator_has_it() {
    let other = OtherCa::new();
    let registrar = other.server(Server::OmitsIntermediate).await;
    let bench = bench(registrar, &[other.root.der(), other.issuing.der()]).await;
    let receipt = bench.done().await;
    let given: Vec<String> = receipt.verified.intermediates().iter().map(Certificate::label).collect();
    assert!(given.contains(&"Fabrikam Issuing CA".to_owned()) && given.len() == 2, "{given:?}");
}

#[tokio::test]
async fn a_registrar_that_no_cable_can_mend_stops_the_job_before_a_secret_is_asked_for() {
    let other = OtherCa::new();
    let root = other.root.der().to_vec();
    for (kind, roots, said) in [
        (Server::Sound, vec![], "the certificate of the issuer Fabrikam Root CA is missing"),
        (Server::OmitsIntermediate, vec![&root[..]], "the certificate of the issuer Fabrikam Issuing CA is missing"),
        (Server::OtherName, vec![&root], "is not for sip.contoso.example"),
        (Server::Expired, vec![&root], "ended"),
    ] {
        let bench = bench(other.server(kind).await, &roots).await;
        let mut answers = bench.answers();
        let error = not_done(bench.run(&bench.job(), &mut answers).await).to_string();
        assert!(error.starts_with("the phone will not trust sip.contoso.example: ") && error.contains(said), "{error}");
        assert!(answers.asked.is_empty());
        assert_eq!(bench.phone().memory().pending, None);
    }
}

#[tokio::test]
async fn a_registrar_out_of_reach_stops_nothing_and_is_never_called_good() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let bench = bench(closed, &[]).await;
    let mut answers = bench.answers();
    let receipt = done(bench.run(&bench.job(), &mut answers).await);
    assert_eq!(receipt.verified.anchors().len(), 1);
    let [before, _, after] = judgements(&answers)[..] else { panic!("{:?}", answers.events) };
    for judgement in [before, after] {
        assert_eq!(judgement.standing, Standing::Unknown);
        assert!(judgement.text.starts_with("sip.contoso.example refuses connections on port 5061"), "{judgement:?}");
        assert!(judgement.next_step.is_some());
    }
    assert!(done(bench.run(&bench.job(), &mut bench.answers()).await).unchanged, "nothing new is published for it");
}

#[tokio::test]
async fn a_phone_without_the_room_is_told_what_does_not_fit() {
    let other = OtherCa::new();
    let mut bench = bench(other.server(Server::Sound).await, &[other.root.der()]).await;
    let mut material = bench.phone().material();
    material.max_installed_anchors = 1;
    bench.lab.replace(crate::bench::PORT, material);
    let outcome = bench.run(&bench.job(), &mut bench.answers()).await;
    let said = told(&outcome);
    let wanted = "it needs 2 trust anchors (Contoso Root CA (LAB), Fabrikam Root CA) and takes 1";
    assert!(said.contains(wanted), "{said}");
    assert_eq!(bench.published(), None);
}

#[tokio::test]
async fn an_expired_root_in_old_firmware_counts_for_nothing_and_is_named() {
    let other = OtherCa::new();
    let mut bench = bench(other.server(Server::Sound).await, &[other.root.der()]).await;
    let mut material = bench.phone().material();
    material.anchors = vec![other.old_root(), bench.lab.web_root_der()];
    bench.lab.replace(crate::bench::PORT, material);
    let mut answers = bench.answers();
    let receipt = done(bench.run(&bench.job(), &mut answers).await);
    assert_eq!(notices(&answers), ["its root Fabrikam Root CA expired 2020-05-30: the phone trusts nothing by it"]);
    let given: Vec<&[u8]> = receipt.verified.anchors().iter().map(Certificate::der).collect();
    assert_eq!(given, [&other.root.der()[..]], "its successor");
    assert!(judgements(&answers)[0].text.contains("ended 2020-05-30"), "{:?}", judgements(&answers)[0]);
}

#[tokio::test]
async fn a_download_that_contradicts_is_told_and_nothing_of_it_reaches_the_phone() {
    let other = OtherCa::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap();
    let bag = bag(&[other.root.der(), other.issuing.der()]);
    tokio::spawn(async move {
        let bag = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bag);
        let body = format!(
            "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body><GetRootCertChainsResponse \
             xmlns='http://schemas.microsoft.com/OCS/AuthWebServices/'><BinarySecurityToken xmlns='http://docs.oasis-open.org/\
             wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd'>{bag}</BinarySecurityToken></GetRootCertChainsResponse></s:Body></s:Envelope>"
        );
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    });
    let mut bench = Bench::new().await;
    let mut settings = pool_settings(&bench.lab);
    settings.resolve.push(Resolve { host: HOST.into(), port: 80, address: http });
    settings.proxy = Proxy::Straight;
    settings.root_download.place = DownloadPlace::Usual;
    bench.pool = Pool::new(settings).unwrap();
    let mut answers = bench.answers();
    let receipt = done(bench.run(&bench.job(), &mut answers).await);
    let [notice] = notices(&answers)[..] else { panic!("{:?}", answers.events) };
    assert!(notice.contains("holds Fabrikam Root CA") && notice.ends_with("nothing of it is used"), "{notice}");
    assert_eq!(receipt.verified.anchors()[0].label(), "Contoso Root CA (LAB)");
}

/// A PKCS#7 with nothing but certificates.
fn bag(certificates: &[&[u8]]) -> Vec<u8> {
    let tlv = |tag: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    };
    let oid = |last| [0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, last];
    let content = [&[0x02, 1, 1, 0x31, 0][..], &[0x30, 11], &oid(1), &tlv(0xa0, &certificates.concat()), &[0x31, 0]];
    tlv(0x30, &[&oid(2)[..], &tlv(0xa0, &tlv(0x30, &content.concat()))].concat())
}
