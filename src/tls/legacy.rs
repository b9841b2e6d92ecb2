//! The engine for pools that never learned better: OpenSSL, TLS 1.0 to 1.2 with CBC ciphers and RSA key exchange.
//!
//! It shakes hands and judges nobody: the chain goes to the same judge as with the other engine, before the stream is
//! handed to anybody. Sessions are not resumed, since the crate offers that only as unsafe code.

use super::Engine;
use super::error::TlsError;
use super::handshake::{Negotiated, Purpose, Shaken};
use super::judge::Judge;
use super::traffic::Counted;
use openssl::error::ErrorStack;
use openssl::ssl::{self, Ssl, SslContext, SslMethod, SslRef, SslVerifyMode, SslVersion};
use rustls::pki_types::{CertificateDer, ServerName};
use std::io;
use std::pin::Pin;
use tokio_openssl::SslStream;

/// Security level 0 is what lets TLS 1.0 and SHA-1 in handshakes pass. A server without a certificate stays excluded.
const CIPHERS: &str = "DEFAULT:!aNULL:!eNULL:!PSK:!SRP:@SECLEVEL=0";
/// Alerts by OpenSSL's numbers: handshake_failure, protocol_version, insufficient_security.
const NOTHING_IN_COMMON: [i32; 3] = [1040, 1070, 1071];
/// OpenSSL's numbers for a version that the server chose and this side does not speak.
pub(super) const OTHER_VERSION: [i32; 2] = [258, 266];

/// One handshake with the server `name`, over a connection that leads there.
pub(super) async fn handshake(
    judge: &Judge,
    name: &ServerName<'static>,
    purpose: Purpose<'_>,
    tcp: Counted,
) -> Result<Shaken, TlsError> {
    let host = name.to_str();
    let unusable = |error: ErrorStack| TlsError::Handshake { host: host.clone().into_owned(), source: error.into() };
    let mut stream = SslStream::new(client(name).map_err(unusable)?, tcp).map_err(unusable)?;
    Pin::new(&mut stream).connect().await.map_err(|error| handshake_error(&host, error))?;

    let presented = presented(stream.ssl()).map_err(unusable)?;
    let negotiated = negotiated(stream.ssl());
    let verdict = judge.judge(&presented, name);
    let open = match purpose {
        Purpose::Talk { .. } => verdict.is_ok(),
        Purpose::DangerLook => true,
    };
    let open = open.then(|| (Box::new(stream) as _, negotiated));
    Ok(Shaken { presented, verdict, resumed: false, open })
}

/// The server's certificates as sent, its own first; none before they have come.
pub(super) fn presented(session: &SslRef) -> Result<Vec<CertificateDer<'static>>, ErrorStack> {
    let sent = session.peer_cert_chain().into_iter().flatten();
    sent.map(|certificate| certificate.to_der().map(CertificateDer::from)).collect()
}

/// What both sides agreed on.
pub(super) fn negotiated(session: &SslRef) -> Negotiated {
    let version = session.version_str().replacen("TLSv", "TLS ", 1);
    let version = if version == "TLS 1" { "TLS 1.0".to_owned() } else { version };
    let cipher = session.current_cipher().map_or("", |cipher| cipher.standard_name().unwrap_or(cipher.name()));
    Negotiated { version, cipher: cipher.to_owned() }
}

fn client(name: &ServerName<'_>) -> Result<Ssl, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_client())?;
    context.set_verify(SslVerifyMode::NONE);
    context.set_min_proto_version(Some(SslVersion::TLS1))?;
    context.set_max_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_cipher_list(CIPHERS)?;
    let mut client = Ssl::new(&context.build())?;
    if let ServerName::DnsName(name) = name {
        client.set_hostname(name.as_ref())?;
    }
    Ok(client)
}

fn handshake_error(host: &str, error: ssl::Error) -> TlsError {
    let host = host.to_owned();
    let reasons: Vec<i32> =
        error.ssl_error().map(|stack| stack.errors().iter().map(|e| e.reason_code()).collect()).unwrap_or_default();
    if reasons.iter().any(|reason| NOTHING_IN_COMMON.contains(reason) || OTHER_VERSION.contains(reason)) {
        return TlsError::NoCommonCipher { host, engine: Engine::Legacy, source: Box::new(error) };
    }
    match error.into_io_error() {
        Ok(source) => TlsError::Broken { host, source },
        Err(error) if error.ssl_error().is_none() => {
            TlsError::Broken { host, source: io::ErrorKind::UnexpectedEof.into() }
        }
        Err(error) => TlsError::Handshake { host, source: Box::new(error) },
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Authority, Sends, ca, rsa_key, signed_with_sha1};
    use super::super::tests::{HOST, distrust_of, serve, serve_file, trusting};
    use super::super::{Connector, Distrust, Resolve, Stream, Trust};
    use super::*;
    use crate::lab::web_services::tls::old;
    use rcgen::{CertificateParams, CertifiedIssuer};
    use std::net::SocketAddr;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    /// A server of TLS 1.0 for one connection: answers what it hears with the same, and returns it.
    async fn old_server(presented: Vec<CertificateDer<'static>>, key: &[u8]) -> (SocketAddr, JoinHandle<Vec<u8>>) {
        let presented: Vec<Vec<u8>> = presented.iter().map(|c| c.to_vec()).collect();
        let context = old::only_tls10(&presented, key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = old::accept(&context, tcp).await else { return heard };
            let mut buffer = [0; 64];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                heard.extend_from_slice(&buffer[..length]);
                stream.write_all(&buffer[..length]).await.unwrap();
            }
            heard
        });
        (address, heard)
    }

    fn params() -> CertificateParams {
        CertificateParams::new(vec![HOST.to_owned()]).unwrap()
    }

    fn connector(trust: Trust, address: SocketAddr, engine: Engine) -> Connector {
        Connector::new(trust, vec![Resolve { host: HOST.to_owned(), port: 443, address }]).with_engine(engine)
    }

    async fn connect(trust: Trust, address: SocketAddr) -> Result<Stream, TlsError> {
        connector(trust, address, Engine::Legacy).connect(HOST, 443, &["http/1.1"], &Arc::default()).await
    }

    #[tokio::test]
    async fn a_server_of_tls_1_0_is_reached_by_the_old_engine_and_only_by_it() {
        let authority = Authority::new();
        let identity = authority.identity_with(rsa_key(&rcgen::PKCS_RSA_SHA256), params(), Sends::Everything, None);
        let (address, _heard) = old_server(identity.chain.clone(), &identity.key).await;
        let modern = connector(trusting(&authority), address, Engine::Modern);
        let error = modern.connect(HOST, 443, &[], &Arc::default()).await.unwrap_err();
        assert!(matches!(error, TlsError::NoCommonCipher { engine: Engine::Modern, .. }), "{error:?}");
        assert!(error.next_step().contains("--tls legacy"));

        let (address, heard) = old_server(identity.chain.clone(), &identity.key).await;
        let mut stream = connect(trusting(&authority), address).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"hello");
        assert_eq!(stream.negotiated().to_string(), "TLS 1.0, TLS_RSA_WITH_AES_256_CBC_SHA");
        assert_eq!(stream.server_chain().presented.len(), 2);
        assert_eq!(stream.server_chain().completed, [authority.root_der()]);
        assert_eq!(stream.channel_binding(), super::super::binding::server_end_point(&identity.chain[0]));
        drop(stream);
        assert_eq!(heard.await.unwrap(), b"hello");
    }

    #[tokio::test]
    async fn the_old_engine_is_judged_by_the_same_judge_and_sends_nothing_before() {
        let authority = Authority::new();
        let rsa = || rsa_key(&rcgen::PKCS_RSA_SHA256);
        let identity = authority.identity_with(rsa(), params(), Sends::Everything, None);
        let other = CertificateParams::new(vec!["sip.contoso.example".to_owned()]).unwrap();
        let other = authority.identity_with(rsa(), other, Sends::Everything, None);
        let alone = authority.identity_with(rsa(), params(), Sends::OnlyItsOwn, None);
        let old_root = CertifiedIssuer::self_signed(ca("Old Root"), rsa()).unwrap();
        let key = rsa();
        let sha1 = signed_with_sha1(params().signed_by(&key, &old_root).unwrap().der());
        let mut trusts_old = Trust::only_given();
        trusts_old.add_der("lab", old_root.der()).unwrap();

        type Expected = fn(&Distrust) -> bool;
        let cases: [(_, _, _, Expected); 4] = [
            (identity.chain, identity.key, trusting(&Authority::new()), |d| {
                matches!(d, Distrust::UnknownIssuer { .. })
            }),
            (other.chain, other.key, trusting(&authority), |d| matches!(d, Distrust::WrongName { .. })),
            (alone.chain, alone.key, trusting(&authority), |d| matches!(d, Distrust::MissingIntermediate { .. })),
            (vec![sha1.into()], key.serialize_der(), trusts_old, |d| matches!(d, Distrust::OldSignature { .. })),
        ];
        for (chain, key, trust, expected) in cases {
            let (address, heard) = old_server(chain, &key).await;
            let (reason, _) = distrust_of(connect(trust, address).await);
            assert!(expected(&reason), "{reason}");
            assert_eq!(heard.await.unwrap(), b"");
        }
    }

    #[tokio::test]
    async fn a_probe_of_an_old_server_shows_it_and_sends_nothing() {
        let authority = Authority::new();
        let identity = authority.identity_with(rsa_key(&rcgen::PKCS_RSA_SHA256), params(), Sends::Everything, None);
        let (address, heard) = old_server(identity.chain, &identity.key).await;
        let stranger = connector(trusting(&Authority::new()), address, Engine::Legacy);
        let probed = stranger.probe(HOST, 443).await.unwrap();
        assert_eq!((probed.presented.len(), probed.negotiated.version.as_str()), (2, "TLS 1.0"));
        assert!(matches!(probed.distrust, Some(Distrust::UnknownIssuer { .. })));
        assert_eq!(heard.await.unwrap(), b"");
    }

    #[tokio::test]
    async fn a_missing_intermediate_is_fetched_for_the_old_engine_too() {
        let authority = Authority::new();
        let issuer_at = serve_file(authority.intermediate_der()).await;
        let alone = authority.identity(params(), Sends::OnlyItsOwn, Some(&issuer_at));
        let address = serve(alone.speaking(&[&rustls::version::TLS12])).await;
        let stream = connect(trusting(&authority), address).await.unwrap();
        assert_eq!(stream.server_chain().completed, [authority.intermediate_der(), authority.root_der()]);
        assert_eq!(stream.negotiated().version, "TLS 1.2");
    }

    #[tokio::test]
    async fn a_server_that_is_too_new_and_one_that_hangs_up_are_told_apart() {
        let authority = Authority::new();
        let identity = authority.identity(params(), Sends::Everything, None);
        let address = serve(identity.speaking(&[&rustls::version::TLS13])).await;
        let error = connect(trusting(&authority), address).await.unwrap_err();
        assert!(matches!(error, TlsError::NoCommonCipher { engine: Engine::Legacy, .. }), "{error:?}");
        assert!(error.next_step().starts_with("leave out"));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { listener.accept().await });
        let error = connect(trusting(&authority), address).await.unwrap_err();
        assert!(matches!(error, TlsError::Broken { .. }), "{error:?}");
    }
}
