//! TLS as the pool speaks it: as every sound server does, or as an old one.

use crate::lab::pki::ServerIdentity;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Which TLS the pool speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LabTls {
    /// TLS 1.2 and 1.3.
    #[default]
    Modern,
    /// TLS 1.0 with CBC ciphers and RSA key exchange, as Lync 2010 on Windows Server 2008 without its updates. Only in builds
    /// with the feature `legacy-tls`.
    OnlyTls10,
}

/// Accepts with one identity.
#[derive(Clone)]
pub(in crate::lab) enum Acceptor {
    Modern(tokio_rustls::TlsAcceptor),
    #[cfg(feature = "legacy-tls")]
    OnlyTls10(openssl::ssl::SslContext),
}

/// A connection that is accepted, whatever TLS it speaks.
pub(in crate::lab) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Acceptor {
    /// `alpn`: the application protocols that are agreed to where a client asks, none for any.
    pub(in crate::lab) fn new(tls: LabTls, identity: &ServerIdentity, alpn: &[&[u8]]) -> io::Result<Self> {
        match tls {
            LabTls::Modern => modern(identity, alpn).map(Self::Modern),
            #[cfg(feature = "legacy-tls")]
            LabTls::OnlyTls10 => old::only_tls10(&identity.presented, &identity.key).map(Self::OnlyTls10),
            #[cfg(not(feature = "legacy-tls"))]
            LabTls::OnlyTls10 => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "this build has no old TLS (feature legacy-tls)"))
            }
        }
    }

    pub(in crate::lab) async fn accept(&self, tcp: TcpStream) -> io::Result<Box<dyn Wire>> {
        match self {
            Self::Modern(acceptor) => Ok(Box::new(acceptor.accept(tcp).await?)),
            #[cfg(feature = "legacy-tls")]
            Self::OnlyTls10(context) => Ok(Box::new(old::accept(context, tcp).await?)),
        }
    }
}

fn modern(identity: &ServerIdentity, alpn: &[&[u8]]) -> io::Result<tokio_rustls::TlsAcceptor> {
    let chain = identity.presented.iter().cloned().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.to_vec()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(io::Error::other)?;
    tls.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(tls).into())
}

#[cfg(feature = "legacy-tls")]
pub(crate) mod old {
    //! OpenSSL as the server's side.

    use openssl::error::ErrorStack;
    use openssl::pkey::PKey;
    use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslVersion};
    use openssl::x509::X509;
    use std::io;
    use std::pin::Pin;
    use tokio::net::TcpStream;
    use tokio_openssl::SslStream;

    /// TLS 1.0 and RSA key exchange only, for this chain and PKCS#8 key, DER.
    pub(crate) fn only_tls10(presented: &[Vec<u8>], key: &[u8]) -> io::Result<SslContext> {
        context(SslVersion::TLS1, presented, key).map(SslContextBuilder::build).map_err(io::Error::other)
    }

    /// TLS 1.0 to `newest` with RSA key exchange and CBC ciphers only, for this chain and PKCS#8 key, DER.
    pub(in crate::lab) fn context(
        newest: SslVersion,
        presented: &[Vec<u8>],
        key: &[u8],
    ) -> Result<SslContextBuilder, ErrorStack> {
        let mut context = SslContext::builder(SslMethod::tls_server())?;
        context.set_min_proto_version(Some(SslVersion::TLS1))?;
        context.set_max_proto_version(Some(newest))?;
        context.set_cipher_list("AES128-SHA:AES256-SHA:@SECLEVEL=0")?;
        for (number, certificate) in presented.iter().enumerate() {
            let certificate = X509::from_der(certificate)?;
            if number == 0 {
                context.set_certificate(&certificate)?;
            } else {
                context.add_extra_chain_cert(certificate)?;
            }
        }
        let key = PKey::private_key_from_pkcs8(key)?;
        context.set_private_key(&key)?;
        Ok(context)
    }

    pub(crate) async fn accept(context: &SslContext, tcp: TcpStream) -> io::Result<SslStream<TcpStream>> {
        let mut stream = SslStream::new(Ssl::new(context)?, tcp)?;
        Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
        Ok(stream)
    }
}
