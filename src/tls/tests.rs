//! The connector against servers on loopback.

use super::fixture::{Authority, Identity, Sends, ca, certs_only, rsa_key, signed_with_sha1};
use super::*;
use rcgen::CertifiedIssuer;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub(super) const HOST: &str = "web.contoso.example";

/// Answers the first bytes of each connection with one byte.
pub(super) async fn serve(config: Arc<ServerConfig>) -> SocketAddr {
    serve_at("127.0.0.1:0", config).await
}

async fn serve_at(address: &str, config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(config.clone());
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(tcp).await {
                    let _ = stream.read(&mut [0; 16]).await;
                    let _ = stream.write_all(b"!").await;
                    let _ = stream.read(&mut [0; 16]).await;
                }
            });
        }
    });
    address
}

/// An HTTP server with one file.
pub(super) async fn serve_file(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let _ = tcp.read(&mut [0; 1024]).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = tcp.write_all(head.as_bytes()).await;
            let _ = tcp.write_all(&body).await;
        }
    });
    format!("http://{address}/issuer.cer")
}

pub(super) fn trusting(authority: &Authority) -> Trust {
    let mut trust = Trust::only_given();
    trust.add_der("lab", &authority.root_der()).unwrap();
    trust
}

async fn connect(trust: Trust, address: SocketAddr, host: &str) -> Result<Stream, TlsError> {
    let resolve = vec![Resolve { host: host.to_owned(), port: 443, address }];
    Connector::new(trust, resolve).connect(host, 443, &[], &Arc::default()).await
}

pub(super) fn distrust_of(result: Result<Stream, TlsError>) -> (Distrust, usize) {
    match result.unwrap_err() {
        TlsError::Untrusted { reason, presented, .. } => (reason, presented.len()),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_trusted_server_shows_what_it_sent_and_which_root_completed_it() {
    let authority = Authority::new();
    let address = serve(authority.server(&[HOST], Sends::Everything, None)).await;
    let stream = connect(trusting(&authority), address, HOST).await.unwrap();
    assert_eq!(stream.server_chain().presented.len(), 2);
    assert_eq!(stream.server_chain().completed, [authority.root_der()]);
}

#[tokio::test]
async fn an_omitted_intermediate_is_taken_from_the_known_ones() {
    let authority = Authority::new();
    let address = serve(authority.server(&[HOST], Sends::OnlyItsOwn, None)).await;
    let mut trust = trusting(&authority);
    trust.add_der("lab", &authority.intermediate_der()).unwrap();
    let stream = connect(trust, address, HOST).await.unwrap();
    assert_eq!(stream.server_chain().presented.len(), 1);
    assert_eq!(stream.server_chain().completed, [authority.intermediate_der(), authority.root_der()]);
}

#[tokio::test]
async fn an_omitted_intermediate_is_fetched_once_from_the_address_in_the_certificate() {
    let authority = Authority::new();
    let issuer_at = serve_file(authority.intermediate_der()).await;
    let address = serve(authority.server(&[HOST], Sends::OnlyItsOwn, Some(&issuer_at))).await;
    let resolve = vec![Resolve { host: HOST.to_owned(), port: 443, address }];
    let connector = Connector::new(trusting(&authority), resolve);
    let traffic = Arc::default();
    let stream = connector.connect(HOST, 443, &[], &traffic).await.unwrap();
    assert_eq!(stream.server_chain().completed, [authority.intermediate_der(), authority.root_der()]);
    assert_eq!(traffic.connections(), 2);
    connector.connect(HOST, 443, &[], &traffic).await.unwrap();
    assert_eq!(traffic.connections(), 3);
    assert!(traffic.received() > 500 && traffic.sent() > 300);
}

#[tokio::test]
async fn a_fetched_issuer_may_come_as_pkcs7() {
    let authority = Authority::new();
    let issuer_at = serve_file(certs_only(&[authority.intermediate_der()])).await;
    let address = serve(authority.server(&[HOST], Sends::OnlyItsOwn, Some(&issuer_at))).await;
    connect(trusting(&authority), address, HOST).await.unwrap();
}

#[tokio::test]
async fn a_fetched_certificate_of_somebody_else_helps_nobody() {
    let authority = Authority::new();
    let issuer_at = serve_file(Authority::new().intermediate_der()).await;
    let address = serve(authority.server(&[HOST], Sends::OnlyItsOwn, Some(&issuer_at))).await;
    assert!(connect(trusting(&authority), address, HOST).await.is_err());
}

/// What a chain ends at that was sent without its root.
fn not_known(issuer: &str) -> Distrust {
    Distrust::UnknownIssuer { issuer: issuer.to_owned(), tried: Vec::new() }
}

#[tokio::test]
async fn a_distrusted_chain_is_kept_and_the_reason_is_exact() {
    let authority = Authority::new();
    let whole = serve(authority.server(&[HOST], Sends::Everything, None)).await;
    let alone = serve(authority.server(&[HOST], Sends::OnlyItsOwn, None)).await;
    let stranger = || trusting(&Authority::new());

    let (reason, presented) = distrust_of(connect(stranger(), whole, HOST).await);
    assert_eq!((reason, presented), (not_known("CN=Contoso Root"), 2));

    let (reason, presented) = distrust_of(connect(trusting(&authority), alone, HOST).await);
    assert_eq!(presented, 1);
    assert!(matches!(reason, Distrust::MissingIntermediate { issuer, .. } if issuer == "CN=Contoso Issuing CA 2"));

    let (reason, _) = distrust_of(connect(trusting(&authority), whole, "sip.contoso.example").await);
    assert!(matches!(reason, Distrust::WrongName { names } if names.join(" ").contains(HOST)));

    let mut old = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    old.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let expired = serve(authority.server_with(old, Sends::Everything, None)).await;
    assert_eq!(distrust_of(connect(trusting(&authority), expired, HOST).await).0, Distrust::Expired);

    let mut young = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    young.not_before = rcgen::date_time_ymd(2090, 1, 1);
    let future = serve(authority.server_with(young, Sends::Everything, None)).await;
    assert_eq!(distrust_of(connect(trusting(&authority), future, HOST).await).0, Distrust::NotYetValid);
}

#[tokio::test]
async fn an_old_server_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let _ = tcp.read(&mut [0; 2048]).await;
        // A TLS 1.0 record: alert, fatal, handshake_failure.
        let _ = tcp.write_all(&[21, 3, 1, 0, 2, 2, 40]).await;
        let _ = tcp.read(&mut [0; 16]).await;
    });
    let error = connect(trusting(&Authority::new()), address, HOST).await.unwrap_err();
    assert!(matches!(error, TlsError::NoCommonCipher { .. }), "{error}");
    assert!(error.to_string().contains("ECDHE with AES-GCM"));
    assert!(error.next_step().contains("--tls legacy") && error.next_step().contains("tls = \"legacy\""));
}

#[cfg(not(feature = "legacy-tls"))]
#[tokio::test]
async fn a_build_without_the_old_engine_says_so_and_uses_no_other() {
    let authority = Authority::new();
    let address = serve(authority.server(&[HOST], Sends::Everything, None)).await;
    let resolve = vec![Resolve { host: HOST.to_owned(), port: 443, address }];
    let connector = Connector::new(trusting(&authority), resolve).with_engine(Engine::Legacy);
    let traffic = Arc::default();
    let error = connector.connect(HOST, 443, &[], &traffic).await.unwrap_err();
    assert!(matches!(error, TlsError::EngineMissing { .. }), "{error}");
    assert!(error.next_step().contains("--features legacy-tls"));
    assert_eq!(traffic.connections(), 0);
}

#[tokio::test]
async fn nothing_listening_no_name_and_silence_are_three_different_errors() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let resolve = vec![Resolve { host: HOST.to_owned(), port: 443, address }];
    let silent = Connector::new(trusting(&authority), resolve).with_deadline(Duration::from_millis(50));
    let error = silent.connect(HOST, 443, &[], &Arc::default()).await.unwrap_err();
    assert!(matches!(error, TlsError::TimedOut { step: "TLS handshake", .. }), "{error}");

    drop(listener);
    let error = connect(trusting(&authority), address, HOST).await.unwrap_err();
    assert!(matches!(error, TlsError::Refused { .. }), "{error}");

    let nowhere = Connector::new(trusting(&authority), Vec::new());
    let error = nowhere.connect("no such host", 443, &[], &Arc::default()).await.unwrap_err();
    assert!(matches!(error, TlsError::BadHost { .. }), "{error}");
    assert!(error.next_step().contains("address"));

    let error = connect(Trust::only_given(), address, HOST).await.unwrap_err();
    assert!(matches!(error, TlsError::NoAnchors), "{error}");
}

#[tokio::test]
async fn a_probe_shows_a_server_whether_or_not_it_is_trusted() {
    let authority = Authority::new();
    let address = serve(authority.server(&[HOST], Sends::Everything, None)).await;
    let resolve = vec![Resolve { host: HOST.to_owned(), port: 5061, address }];

    let probed = Connector::new(trusting(&authority), resolve.clone()).probe(HOST, 5061).await.unwrap();
    assert_eq!((probed.presented.len(), probed.completed, probed.distrust), (2, vec![authority.root_der()], None));
    assert_eq!(probed.negotiated.to_string(), "TLS 1.3, TLS_AES_256_GCM_SHA384");

    let stranger = Connector::new(trusting(&Authority::new()), resolve);
    let probed = stranger.probe(HOST, 5061).await.unwrap();
    assert_eq!((probed.presented.len(), probed.completed.len()), (2, 0));
    assert_eq!(probed.distrust, Some(not_known("CN=Contoso Root")));
    assert!(!probed.negotiated.cipher.is_empty());
    assert!(stranger.connect(HOST, 5061, &[], &Arc::default()).await.is_err(), "looking grants no trust");
}

#[tokio::test]
async fn a_probe_sends_nothing_and_fetches_what_the_server_omits() {
    let authority = Authority::new();
    let issuer_at = serve_file(authority.intermediate_der()).await;
    let config = authority.server(&[HOST], Sends::OnlyItsOwn, Some(&issuer_at));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let mut heard = Vec::new();
        for _ in 0..2 {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::from(config.clone()).accept(tcp).await.unwrap();
            let _ = stream.read_to_end(&mut heard).await;
        }
        heard
    });
    let resolve = vec![Resolve { host: HOST.to_owned(), port: 5061, address }];
    let probed = Connector::new(trusting(&authority), resolve).probe(HOST, 5061).await.unwrap();
    assert_eq!(probed.distrust, None);
    assert_eq!(probed.completed, [authority.intermediate_der(), authority.root_der()]);
    assert_eq!(heard.await.unwrap(), b"");
}

/// Connects, and reads the byte after which a server's tickets have arrived.
async fn talk(connector: &Connector, host: &str, port: u16, traffic: &Arc<Traffic>) -> Stream {
    let mut stream = connector.connect(host, port, &[], traffic).await.unwrap();
    stream.write_all(b"?").await.unwrap();
    stream.read_u8().await.unwrap();
    stream
}

#[tokio::test]
async fn connections_to_a_server_share_sessions_and_a_resumed_one_shows_the_same_chain() {
    let authority = Authority::new();
    let params = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    let identity = authority.identity(params, Sends::Everything, None);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let address = serve(identity.speaking(&[version])).await;
        let at = |port| Resolve { host: HOST.to_owned(), port, address };
        let connector = Connector::new(trusting(&authority), vec![at(443), at(5061)]);
        let traffic = Arc::default();
        let first = talk(&connector, HOST, 443, &traffic).await;
        let second = talk(&connector, HOST, 443, &traffic).await;
        assert_eq!((traffic.full_handshakes(), traffic.resumed_handshakes()), (1, 1));
        assert_eq!(first.server_chain(), second.server_chain());
        assert_eq!(first.channel_binding(), second.channel_binding());

        talk(&connector, HOST, 5061, &traffic).await;
        assert_eq!(traffic.full_handshakes(), 2, "another port may be another server");
        connector.probe(HOST, 443).await.unwrap();
        talk(&connector, HOST, 443, &traffic).await;
        assert_eq!((traffic.full_handshakes(), traffic.resumed_handshakes()), (2, 2));
    }
}

#[tokio::test]
async fn sessions_end_with_their_time() {
    let authority = Authority::new();
    let address = serve(authority.server(&[HOST], Sends::Everything, None)).await;
    let resolve = vec![Resolve { host: HOST.to_owned(), port: 443, address }];
    let connector = Connector::new(trusting(&authority), resolve).with_session_life(Duration::ZERO);
    let traffic = Arc::default();
    talk(&connector, HOST, 443, &traffic).await;
    talk(&connector, HOST, 443, &traffic).await;
    assert_eq!((traffic.full_handshakes(), traffic.resumed_handshakes()), (2, 0));
}

#[tokio::test]
async fn a_chain_signed_with_sha_1_is_refused_and_the_certificate_is_named() {
    let key = || rcgen::KeyPair::generate().unwrap();
    let root = CertifiedIssuer::self_signed(ca("Old Root"), rsa_key(&rcgen::PKCS_RSA_SHA256)).unwrap();
    let issuing = CertifiedIssuer::signed_by(ca("Old Issuing CA"), key(), &root).unwrap();
    let mut params = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, HOST);
    let (directly, below) = (key(), key());
    let own = params.clone().signed_by(&directly, &root).unwrap();
    let other = params.signed_by(&below, &issuing).unwrap();
    for (chain, key, named) in [
        (vec![signed_with_sha1(own.der())], directly, HOST),
        (vec![other.der().to_vec(), signed_with_sha1(issuing.der())], below, "Old Issuing CA"),
    ] {
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let identity = Identity { chain, key: key.serialize_der() };
        let address = serve(identity.speaking(rustls::ALL_VERSIONS)).await;
        let mut trust = Trust::only_given();
        trust.add_der("lab", root.der()).unwrap();
        let (reason, _) = distrust_of(connect(trust, address, HOST).await);
        let Distrust::OldSignature { subject } = reason else { panic!("{reason}") };
        assert!(subject.contains(named), "{subject}");
    }
}

#[tokio::test]
async fn a_server_with_an_ipv6_address_is_reached_by_it() {
    let authority = Authority::new();
    let config = authority.server(&["::1"], Sends::Everything, None);
    let address = serve_at("[::1]:0", config).await;
    let connector = Connector::new(trusting(&authority), Vec::new());
    for host in ["::1", "[::1]"] {
        let stream = connector.connect(host, address.port(), &[], &Arc::default()).await.unwrap();
        assert_eq!(stream.server_chain().presented.len(), 2);
    }
    let (reason, _) = distrust_of(connect(trusting(&authority), address, HOST).await);
    assert!(matches!(reason, Distrust::WrongName { .. }), "{reason}");
}
