//! The one judge of every server: webpki by this computer's trust, whichever engine speaks TLS.

use super::chain::{self, ServerChain};
use super::trust::Trust;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

/// How many fetched certificates are kept: the pools that one connector reaches have a handful of CAs.
const MAX_FETCHED: usize = 64;

/// webpki, with the certificates that may complete a chain: the known ones, and what was fetched since.
#[derive(Debug)]
pub(super) struct Judge {
    webpki: Arc<WebPkiServerVerifier>,
    trust: Trust,
    fetched: Mutex<Vec<CertificateDer<'static>>>,
}

impl Judge {
    /// `None` without a single anchor: nothing could ever be trusted.
    pub(super) fn new(trust: Trust) -> Option<Self> {
        let webpki = WebPkiServerVerifier::builder_with_provider(trust.store().clone(), provider()).build().ok()?;
        Some(Self { webpki, trust, fetched: Mutex::default() })
    }

    /// Adds what a certificate's address gave. It is only a hint for finding a path.
    pub(super) fn learn(&self, found: Vec<CertificateDer<'static>>) {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        for certificate in found {
            if fetched.len() < MAX_FETCHED && !fetched.contains(&certificate) {
                fetched.push(certificate);
            }
        }
    }

    /// What may complete a chain.
    pub(super) fn helping(&self) -> Vec<CertificateDer<'static>> {
        let fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        self.trust.intermediates().iter().chain(fetched.iter()).cloned().collect()
    }

    /// webpki's word on what a server presented, its own certificate first, for this name and now.
    pub(super) fn judge(&self, presented: &[CertificateDer<'_>], name: &ServerName<'_>) -> Result<(), Error> {
        let Some((own, sent)) = presented.split_first() else { return Err(Error::NoCertificatesPresented) };
        self.verdict(own, sent, name, UnixTime::now())
    }

    /// Which certificates lead from what was presented to the anchor.
    pub(super) fn complete(&self, presented: &[CertificateDer<'static>]) -> ServerChain {
        chain::complete(presented, &self.helping(), &self.trust)
    }

    fn verdict(
        &self,
        own: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let judge = |chain: &[CertificateDer<'_>]| self.webpki.verify_server_cert(own, chain, name, &[], now).map(drop);
        let verdict = judge(sent);
        if !matches!(verdict, Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))) {
            return verdict;
        }
        let helping = self.helping();
        if helping.is_empty() { verdict } else { judge(&[sent, &helping].concat()) }
    }
}

/// aws-lc, the one provider of cryptography.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// What one handshake showed.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Own certificate first, as sent.
    pub(super) presented: Vec<CertificateDer<'static>>,
    /// The judge's word on it, name included.
    pub(super) verdict: Result<(), Error>,
}

tokio::task_local! {
    /// Of the handshake that this task is in: the verifier itself is shared, or no session could be resumed.
    static SEEN: RefCell<Option<Seen>>;
}

/// Runs a handshake, and tells what its verifier saw. Nothing was seen if it broke before, or if it resumed a session.
pub(super) async fn recorded<T>(handshake: impl Future<Output = T>) -> (T, Option<Seen>) {
    SEEN.scope(RefCell::default(), async {
        let done = handshake.await;
        (done, SEEN.with(RefCell::take))
    })
    .await
}

/// The same for a piece of a handshake that never waits.
pub(super) fn recorded_at_once<T>(handshake: impl FnOnce() -> T) -> (T, Option<Seen>) {
    SEEN.sync_scope(RefCell::default(), || {
        let done = handshake();
        (done, SEEN.with(RefCell::take))
    })
}

/// What a refusal does to the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It ends there.
    Ends,
    /// It is noted, and the handshake goes on: only for looking at a server to which nothing is sent.
    DangerGoesOn,
}

/// The judge as rustls asks it.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) judge: Arc<Judge>,
    pub(super) refusal: Refusal,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.judge.verdict(end_entity, intermediates, server_name, now);
        let presented = std::iter::once(end_entity).chain(intermediates).map(|c| c.clone().into_owned()).collect();
        let seen = Seen { presented, verdict: verdict.clone() };
        // Outside of `recorded` nobody asks.
        let _ = SEEN.try_with(|place| place.replace(Some(seen)));
        match self.refusal {
            Refusal::Ends => verdict.map(|()| ServerCertVerified::assertion()),
            Refusal::DangerGoesOn => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.webpki.supported_verify_schemes()
    }
}
