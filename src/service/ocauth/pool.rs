//! A pool as its enrolments share it: where it is, whom to trust, what was learned about it.

use super::OcAuth;
use super::collecting::{Collecting, RootDownload};
use super::error::ServiceError;
use super::metadata::{CertProv, Port};
use super::profile::Profile;
use super::refused::RefusedCredentials;
use crate::credential::{SipAddress, is_in_domain};
use crate::tls::{Connector, Engine, Proxy, Resolve, ServerChain, Trust};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use url::Url;

/// How long metadata is believed: a station runs for days, an administrator changes a pool in between.
const METADATA_LIFE: Duration = Duration::from_secs(60 * 60);

/// What the operator says about a pool.
#[derive(Debug)]
pub struct Settings {
    /// The certificate provisioning service, given by hand: `https://…/CertProv/CertProvisioningService.svc`. Its host
    /// may receive credentials.
    pub certprov_url: String,
    /// Whom this computer trusts.
    pub trust: Trust,
    /// Where names lead that DNS does not know, or knows otherwise.
    pub resolve: Vec<Resolve>,
    /// Further hosts that may receive credentials although they are outside the user's SIP domain.
    pub allowed_hosts: Vec<String>,
    /// What is known of this pool that is not public. `None`: nothing, and a PIN is never sent.
    pub profile: Option<Profile>,
    /// Where refused credentials are remembered.
    pub refused: RefusedCredentials,
    /// The TLS implementation that this pool needs.
    pub engine: Engine,
    /// The way to the pool.
    pub proxy: Proxy,
    /// Further servers that the phone has to trust, host and port: the registrar at 5061, others.
    pub also_servers: Vec<(String, u16)>,
    /// The service's root-chain download.
    pub root_download: RootDownload,
}

/// Why a pool's address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Not an address.
    #[error("`{address}` is not a URL")]
    NotAUrl {
        /// As given, without what stands before an `@`.
        address: String,
    },
    /// Without TLS.
    #[error("`{address}` is not an https address")]
    NotHttps {
        /// As given, without what stands before an `@`.
        address: String,
    },
    /// With a login in it, which would end up in logs.
    #[error("the address of the Web Services must not hold a user name or password")]
    UserInfo,
}

impl PoolError {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::NotAUrl { .. } | Self::NotHttps { .. } => {
                "write it like https://web.contoso.example/CertProv/CertProvisioningService.svc"
            }
            Self::UserInfo => "leave user name and password out of the address; they are asked for",
        }
    }
}

impl Settings {
    /// A pool at `certprov_url`, with nothing else allowed.
    pub fn new(certprov_url: impl Into<String>, trust: Trust) -> Self {
        Self {
            certprov_url: certprov_url.into(),
            trust,
            resolve: Vec::new(),
            allowed_hosts: Vec::new(),
            profile: None,
            refused: RefusedCredentials::of_this_process(),
            engine: Engine::default(),
            proxy: Proxy::default(),
            also_servers: Vec::new(),
            root_download: RootDownload::default(),
        }
    }
}

/// A pool. Clones share what was learned: metadata, server chain and clock offset.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    certprov_url: Url,
    connector: Arc<Connector>,
    allowed_hosts: Vec<String>,
    profile: Option<Profile>,
    refused: RefusedCredentials,
    known: Mutex<Option<Arc<Known>>>,
    /// Held by the enrolment that reads the metadata for all.
    reading_metadata: tokio::sync::Mutex<()>,
    clock_offset_seconds: Mutex<Option<i64>>,
    collecting: Collecting,
}

/// What the services say about themselves without any credential.
pub(super) struct Known {
    pub(super) certprov: CertProv,
    pub(super) ports: Vec<Port>,
    pub(super) chain: ServerChain,
    pub(super) read_at: Instant,
}

impl Pool {
    /// The address of a certificate provisioning service as pools have it: https, without login, query and fragment.
    pub fn address(text: &str) -> Result<Url, PoolError> {
        let shown = || {
            // What stands before an `@` may be a password.
            let after = text.rsplit_once('@').map_or(text, |(_, after)| after);
            after.trim().escape_default().to_string()
        };
        let mut url = Url::parse(text.trim()).map_err(|_| PoolError::NotAUrl { address: shown() })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(PoolError::UserInfo);
        }
        if url.scheme() != "https" || !url.has_host() {
            return Err(PoolError::NotHttps { address: shown() });
        }
        url.set_fragment(None);
        url.set_query(None);
        Ok(url)
    }

    /// Nothing is sent yet.
    pub fn new(settings: Settings) -> Result<Self, PoolError> {
        Ok(Self(Arc::new(Shared {
            certprov_url: Self::address(&settings.certprov_url)?,
            collecting: Collecting::of(&settings),
            connector: Arc::new(
                Connector::new(settings.trust, settings.resolve)
                    .with_engine(settings.engine)
                    .with_proxy(settings.proxy),
            ),
            allowed_hosts: settings.allowed_hosts,
            profile: settings.profile,
            refused: settings.refused,
            known: Mutex::new(None),
            reading_metadata: tokio::sync::Mutex::new(()),
            clock_offset_seconds: Mutex::new(None),
        })))
    }

    /// An enrolment for one user, with a connection of its own.
    pub fn enrolment(&self) -> OcAuth {
        OcAuth::new(self.clone())
    }

    /// The host that was given by hand, for prompts: a secret goes there.
    pub fn host(&self) -> &str {
        self.0.certprov_url.host_str().unwrap_or_default()
    }

    /// The name that the server's certificate has to be valid for: the host, an IPv6 address without its brackets.
    pub(super) fn server_name(&self) -> &str {
        crate::tls::bare(self.host())
    }

    /// The certificate provisioning service: what was given, made plain by [`Pool::address`].
    pub fn certprov_url(&self) -> &Url {
        &self.0.certprov_url
    }

    /// The way to the pool: to its registrar too, by the same trust.
    pub fn connector(&self) -> Arc<Connector> {
        self.0.connector.clone()
    }

    pub(super) fn collecting(&self) -> &Collecting {
        &self.0.collecting
    }

    /// What is known of this pool that is not public.
    pub fn profile(&self) -> Option<&Profile> {
        self.0.profile.as_ref()
    }

    /// By which answers are read: without a profile of its own like a lab's, for nothing is sent by it.
    pub(super) fn reading(&self) -> Profile {
        self.0.profile.clone().unwrap_or_else(Profile::lab)
    }

    pub(super) fn refused(&self) -> &RefusedCredentials {
        &self.0.refused
    }

    pub(super) fn known(&self) -> Option<Arc<Known>> {
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone().filter(|known| known.read_at.elapsed() < METADATA_LIFE)
    }

    /// Held by the enrolment that reads the metadata for all that begin at the same time.
    pub(super) fn reading_metadata(&self) -> &tokio::sync::Mutex<()> {
        &self.0.reading_metadata
    }

    pub(super) fn learn(&self, known: Known) -> Arc<Known> {
        let known = Arc::new(known);
        *self.0.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        known
    }

    pub(super) fn clock_offset_seconds(&self) -> Option<i64> {
        *self.0.clock_offset_seconds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_clock(&self, offset_seconds: Option<i64>) {
        if let Some(offset) = offset_seconds {
            *self.0.clock_offset_seconds.lock().unwrap_or_else(PoisonError::into_inner) = Some(offset);
        }
    }

    /// Credentials and tickets go to the host given by hand, to the user's SIP domain, and to allowed hosts.
    pub(super) fn may_receive(&self, url: &Url, user: &SipAddress) -> Result<(), ServiceError> {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let domain = user.domain();
        let allowed = self.0.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&host));
        if is_in_domain(&host, domain) || allowed || host.eq_ignore_ascii_case(self.host()) {
            return Ok(());
        }
        Err(ServiceError::HostNotAllowed { host, domain: domain.to_owned() })
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({})", self.0.certprov_url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(address: &str) -> Result<Pool, PoolError> {
        Pool::new(Settings::new(address, Trust::only_given()))
    }

    #[test]
    fn only_an_https_address_without_a_login_is_a_pool() {
        assert!(matches!(pool("web.contoso.example"), Err(PoolError::NotAUrl { .. })));
        assert!(matches!(pool("http://web.contoso.example/"), Err(PoolError::NotHttps { .. })));
        assert_eq!(pool("https://alice:secret@web.contoso.example/").unwrap_err(), PoolError::UserInfo);
        assert_eq!(pool("https://web.contoso.example/CertProv/x.svc").unwrap().host(), "web.contoso.example");
    }

    #[test]
    fn an_address_that_is_refused_does_not_show_its_password() {
        for address in ["https//alice:s3cret@web/", "https://alice:s3cret@web:port/", "mailto:alice:s3cret@web"] {
            let error = pool(address).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn credentials_stay_in_the_users_domain() {
        let mut settings = Settings::new("https://pool.hoster.example/x", Trust::only_given());
        settings.allowed_hosts.push("Other.example".to_owned());
        let pool = Pool::new(settings).unwrap();
        let user = "alice@contoso.example".parse().unwrap();
        let may = |url: &str| pool.may_receive(&Url::parse(url).unwrap(), &user).is_ok();
        assert!(
            may("https://pool.hoster.example/") && may("https://web.contoso.example/") && may("https://other.example")
        );
        assert!(!may("https://web.hoster.example/") && !may("https://evilcontoso.example/"));
    }
}
