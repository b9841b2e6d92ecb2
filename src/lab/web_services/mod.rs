//! Web Services of a pool: metadata, web tickets by NTLM and PIN, certificate provisioning, over real HTTPS.
//!
//! Tickets are really checked, passwords really proven, certificates really stored. What is not public (the PIN message,
//! the inside of `ErrorInfo`, error numbers from 99001) is a LAB profile and marked so where it stands. Every fault of
//! [`Faults`] can be switched while the server runs.

pub(in crate::lab) mod answer;
mod certprov;
mod chains;
mod endorsement;
mod faults;
mod front_end;
mod garbled;
mod mex;
mod ntlm;
mod proof;
mod publish;
mod record;
mod server;
mod service;
mod shears;
mod sign_in;
mod soap;
mod spnego;
mod store;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
mod trouble;
mod users;
mod web_ticket;
mod wsdl;

pub(in crate::lab) use faults::strikes;
pub use faults::{
    Body, CertificateFault, ChainsFault, ChannelBinding, Cut, Faults, MetadataFault, Negotiate, Settings, Suite,
    WindowsAuth,
};
pub use front_end::{Ailment, FrontEnd, FrontEnds, Illness};
pub use record::{Counters, Credential, Kind, Request};
pub use store::{Published, Standing, Store, StoreRule};
pub use tls::LabTls;
pub use trouble::Route;
pub use users::User;

use super::pki::{Pki, ServerFaults};
use service::Service;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, MutexGuard};
use tokio::task::JoinHandle;

/// Certificate provisioning.
const CERTPROV: &str = "/CertProv/CertProvisioningService.svc";
/// Its port for web tickets with a proof; the suffix is likely, not confirmed.
const PUBLISH: &str = "/CertProv/CertProvisioningService.svc/WebTicket_Proof_SHA1";
/// The web ticket service, and its port for Windows authentication.
const STS: &str = "/WebTicket/WebTicketService.svc";
/// Its port for NTLM alone. LAB.
const STS_NTLM: &str = "/WebTicket/WebTicketService.svc/ntlm";
/// Its port for a PIN. LAB.
const PIN: &str = "/WebTicket/WebTicketService.svc/pin";
/// Its port for a certificate of before (observed).
const CERT: &str = "/WebTicket/WebTicketService.svc/cert";
/// The issuing CA's certificate, over plain http.
const ISSUER: &str = "/aia/issuing-ca-2.cer";

/// What a lab's Web Services are made of.
pub struct Options {
    /// The authorities, shared with the rest of the lab.
    pub pki: Arc<Pki>,
    /// The directory.
    pub users: Vec<User>,
    /// What the administrator has set.
    pub settings: Settings,
    /// What is wrong with the server chain.
    pub server_faults: ServerFaults,
    /// Which TLS is spoken over HTTPS.
    pub tls: LabTls,
    /// The port of HTTPS; 0 for any.
    pub https_port: u16,
    /// The port of plain http; 0 for any.
    pub http_port: u16,
    /// A name beside its own that it is called by.
    pub server_name: Option<String>,
}

impl Options {
    /// A pool as it comes: default settings, the intermediate left out of the handshake.
    pub fn new(pki: Arc<Pki>, users: Vec<User>) -> Self {
        Self {
            pki,
            users,
            settings: Settings::default(),
            server_faults: ServerFaults::default(),
            tls: LabTls::default(),
            https_port: 0,
            http_port: 0,
            server_name: None,
        }
    }
}

/// Running Web Services on loopback. They stop when this is dropped, open connections included.
pub struct WebServices {
    service: Arc<Service>,
    https: SocketAddr,
    ipv6: Option<SocketAddr>,
    http: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl WebServices {
    /// Starts on free ports of 127.0.0.1, and on the same of ::1.
    ///
    /// # Errors
    /// No port could be had, or TLS refuses the lab's certificate.
    pub async fn start(options: Options) -> io::Result<Self> {
        server::start(options).await
    }

    /// Where HTTPS is served.
    pub fn address(&self) -> SocketAddr {
        self.https
    }

    /// Where HTTPS is served on ::1, the same port; `None` where this computer has no IPv6.
    pub fn ipv6_address(&self) -> Option<SocketAddr> {
        self.ipv6
    }

    /// Where plain http is served: the issuing CA's certificate and the root chains, and no secret.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Where the root chains are, under one of the lab's names: a POST of the LAB message `GetRootCertChains`.
    pub fn root_chains_url(&self, host: &str) -> String {
        format!("http://{host}:{}{CERTPROV}", self.http.port())
    }

    /// The certificate provisioning address under one of the lab's names: `web.contoso.example`, `localhost`,
    /// `127.0.0.1`. The first resolves nowhere: connect to [`WebServices::address`] and call it by that name.
    pub fn certprov_url(&self, host: &str) -> String {
        format!("https://{host}:{}{CERTPROV}", self.https.port())
    }

    /// The address of the issuing CA's certificate, plain http: what the server's certificate names.
    pub fn issuer_url(&self) -> String {
        issuer_url(self.http)
    }

    /// The root of the server chain, PEM.
    pub fn trust_anchor_pem(&self) -> String {
        self.service.pki.root_pem()
    }

    /// The users.
    pub fn users(&self) -> &[User] {
        &self.service.users
    }

    /// The published certificates.
    pub fn store(&self) -> &Store {
        &self.service.store
    }

    /// The switches for what goes wrong. Held only to read or change them, not across an await.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.service.faults()
    }

    /// What the administrator has set. Held only to read or change it, not across an await.
    pub fn settings(&self) -> MutexGuard<'_, Settings> {
        self.service.settings()
    }

    /// What is wrong with the server chain.
    pub fn presented(&self) -> ServerFaults {
        self.service.presented()
    }

    /// Changes what is wrong with the server chain, for connections from now on.
    ///
    /// # Errors
    /// TLS refuses the lab's certificate.
    pub fn present(&self, faults: &ServerFaults) -> io::Result<()> {
        self.service.present(faults, &self.issuer_url())
    }

    /// Sums since the start.
    pub fn counters(&self) -> Counters {
        self.service.counters()
    }

    /// Every request since the start, in the order they were answered.
    pub fn requests(&self) -> Vec<Request> {
        self.service.requests()
    }
}

impl Drop for WebServices {
    fn drop(&mut self) {
        // The tasks own the connections' tasks.
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn issuer_url(http: SocketAddr) -> String {
    format!("http://{http}{ISSUER}")
}
