//! Collecting the chains of every server that a phone has to trust. No credential is sent, and nothing here fails: what
//! cannot be had is a finding.

use super::profile::Profile;
use super::root_chains;
use super::{Pool, Settings};
use crate::credential::Thumbprint;
use crate::service::server_trust::{Compared, Download, RootChains, ServerFound};
use crate::tls::{Connector, Proxy, Resolve};
use futures_util::future::join_all;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use url::Url;

/// How long certificates are believed to stay; a station runs for days.
const LIFE: Duration = Duration::from_secs(60 * 60);

/// What the operator says about the service's root-chain download. Nothing is asked without a profile: its message is not
/// public.
#[derive(Debug, Clone, Default)]
pub struct RootDownload {
    /// Where it is asked for.
    pub place: DownloadPlace,
    /// What its request is called, where the pool's profile does not say it.
    pub profile: Option<Profile>,
    /// The root's thumbprint, as the operator has it by another way.
    pub thumbprint: Option<Thumbprint>,
}

/// Where the root chains are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DownloadPlace {
    /// Nowhere.
    #[default]
    Nowhere,
    /// Port 80 of the Web Services, where phones ask.
    Usual,
    /// There, over plain http.
    At(Url),
}

/// Every chain that was collected.
#[derive(Debug, Clone)]
pub struct Collected {
    /// The Web Services.
    pub web: ServerFound,
    /// The other servers, in the order they were given.
    pub also: Vec<ServerFound>,
    /// The service's own download.
    pub download: Download,
    /// What the operator's thumbprint says about the root of the Web Services' chain.
    pub named_root: Compared,
    /// Intermediates that the operator gave, DER.
    pub given: Vec<Vec<u8>>,
}

impl Collected {
    /// All servers, the Web Services first.
    pub fn servers(&self) -> impl Iterator<Item = &ServerFound> {
        std::iter::once(&self.web).chain(&self.also)
    }
}

/// What a pool needs to collect, and what it remembers.
pub(super) struct Collecting {
    also: Vec<(String, u16)>,
    download: RootDownload,
    profile: Option<Profile>,
    resolve: Vec<Resolve>,
    proxy: Proxy,
    given: Vec<Vec<u8>>,
    known: Mutex<Option<(Instant, Vec<ServerFound>, Download)>>,
}

impl Collecting {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            also: settings.also_servers.clone(),
            download: settings.root_download.clone(),
            profile: settings.profile.clone(),
            resolve: settings.resolve.clone(),
            proxy: settings.proxy.clone(),
            given: settings.trust.intermediates().iter().map(|it| it.to_vec()).collect(),
            known: Mutex::new(None),
        }
    }

    /// The other servers and the download, remembered for an hour once all of them answered.
    pub(super) async fn beside(
        &self,
        web: &ServerFound,
        certprov: &Url,
        connector: &Connector,
    ) -> (Vec<ServerFound>, Download) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, also, download)) = known.filter(|(at, ..)| at.elapsed() < LIFE) {
            return (also, download);
        }
        let servers = join_all(self.also.iter().map(|(host, port)| handshake(connector, host, *port)));
        let (also, download) = tokio::join!(servers, self.download(web, certprov));
        let reached = !also.iter().any(|server| server.presented().is_empty());
        if reached && !matches!(download, Download::Failed { .. }) {
            let known = Some((Instant::now(), also.clone(), download.clone()));
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
        }
        (also, download)
    }

    /// What the operator's thumbprint says about the root of the Web Services' chain.
    pub(super) fn named_root(&self, web: &ServerFound) -> Compared {
        Compared::chain_with_thumbprint(web, self.download.thumbprint.as_ref())
    }

    async fn download(&self, web: &ServerFound, certprov: &Url) -> Download {
        let profiles = self.profile.iter().chain(&self.download.profile);
        let Some(profile) = profiles.filter_map(Profile::root_chains).next() else { return Download::NotAsked };
        let url = match &self.download.place {
            DownloadPlace::Nowhere => None,
            DownloadPlace::Usual => root_chains::usual_address(certprov, profile),
            DownloadPlace::At(url) => Some(url.clone()),
        };
        let Some(url) = url else { return Download::NotAsked };
        match root_chains::download(&url, profile, &self.resolve, &self.proxy).await {
            Ok(bag) => Download::Got(Box::new(RootChains {
                https: Compared::with_https(&bag, web),
                thumbprint: Compared::with_thumbprint(&bag, self.download.thumbprint.as_ref()),
                url: url.into(),
                bag,
            })),
            Err(error) => Download::Failed { url: url.into(), error: Arc::new(error) },
        }
    }
}

impl Pool {
    /// Asks the Web Services and the other servers for their certificates and the service for its root chains, whether this
    /// computer trusts them or not.
    pub async fn collect(&self) -> Collected {
        let url = self.certprov_url();
        let (host, port) = (self.server_name(), url.port_or_known_default().unwrap_or(443));
        let web = handshake(&self.connector(), host, port).await;
        let (also, download) = self.collecting().beside(&web, url, &self.connector()).await;
        let (named_root, given) = (self.collecting().named_root(&web), self.collecting().given.clone());
        Collected { web, also, download, named_root, given }
    }
}

/// A handshake and nothing else.
async fn handshake(connector: &Connector, host: &str, port: u16) -> ServerFound {
    ServerFound::new(host, port, connector.probe(host, port).await)
}
