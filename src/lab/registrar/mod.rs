//! A registrar of a pool: SIP over TLS, sign-in by certificate (TLS-DSK) and by password (NTLM), signatures both ways.
//!
//! It believes a certificate because the lab's store has it in force, published through the Web Services, and for no other
//! reason. It shares the codec of SIP messages with the program and nothing else: tunnel, signatures and judgement are its own,
//! written from the specifications ([MS-SIPAE], [MS-SIP], [MS-NLMP]) and checked against published traces. Every fault of
//! [`Faults`] can be switched while it runs.

mod answers;
mod association;
mod faults;
mod gruu;
mod ntlm;
mod record;
mod server;
mod service;
mod sign_in;
mod signature;
#[cfg(test)]
mod tests;
mod tunnel;
mod window;

pub use faults::{Faults, InnerFault, Refusal, SignatureFault};
pub use record::{Proof, Registration, Request};
pub use signature::Hash;

use super::locked;
use super::pki::{Pki, ServerFaults};
use super::web_services::{FrontEnd, LabTls, Store, User};
use service::Service;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, MutexGuard};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

/// What a lab's registrar is made of.
pub struct Options {
    /// The authorities, shared with the Web Services.
    pub pki: Arc<Pki>,
    /// The directory.
    pub users: Vec<User>,
    /// Where the Web Services publish certificates.
    pub store: Store,
    /// Certificate provisioning, as challenges name it.
    pub sts_uri: String,
    /// Where the issuing CA's certificate is, plain http.
    pub issuer_url: String,
    /// What is wrong with the server chain.
    pub server_faults: ServerFaults,
    /// Which TLS is spoken, around and inside.
    pub tls: LabTls,
    /// The port; 0 for any.
    pub port: u16,
    /// The name by which it is reached and calls itself, instead of `localhost` and `fe02.contoso.example`.
    pub server_name: Option<String>,
}

/// A running registrar on loopback. It stops when this is dropped, open connections included.
pub struct Registrar {
    service: Arc<Service>,
    address: SocketAddr,
    ipv6: Option<SocketAddr>,
    home: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Registrar {
    /// Starts on 127.0.0.1, and on the same port of ::1.
    ///
    /// # Errors
    /// The port could not be had, or TLS refuses the lab's certificate.
    pub async fn start(options: Options) -> io::Result<Self> {
        server::start(options).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens on ::1, the same port; `None` where this computer has no IPv6.
    pub fn ipv6_address(&self) -> Option<SocketAddr> {
        self.ipv6
    }

    /// Where users are at home when [`Faults::homed_elsewhere`] sends them away.
    pub fn home(&self) -> SocketAddr {
        self.home
    }

    /// `host:port` by a name that resolves.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.service.names.reachable, self.address.port())
    }

    /// What it calls itself in challenges, `targetname`.
    pub fn target_name(&self) -> &str {
        self.service.names.target(FrontEnd::Fe02)
    }

    /// The switches for what goes wrong. Held only to read or change them, not across an await.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.service.faults()
    }

    /// What is wrong with the server chain.
    pub fn presented(&self) -> ServerFaults {
        self.service.presented()
    }

    /// Changes what is wrong with the server chain, around and inside, from now on.
    ///
    /// # Errors
    /// TLS refuses the lab's certificate.
    pub fn present(&self, faults: &ServerFaults) -> io::Result<()> {
        self.service.present(faults)
    }

    /// Who is registered.
    pub fn registrations(&self) -> Vec<Registration> {
        locked(&self.service.registrations).clone()
    }

    /// Every registration from now on, renewals included.
    pub fn news(&self) -> broadcast::Receiver<Registration> {
        self.service.news.subscribe()
    }

    /// Every request since the start, in the order they were answered.
    pub fn requests(&self) -> Vec<Request> {
        self.service.requests()
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        // The tasks own the connections' tasks.
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What the registrar is called, by whom.
struct OwnNames {
    /// By `targetname`: `fe01` and `fe02`.
    front_ends: [String; 2],
    /// By whoever connects.
    reachable: String,
    port: u16,
    home_port: u16,
    sts_uri: String,
}

impl OwnNames {
    fn target(&self, server: FrontEnd) -> &str {
        match server {
            FrontEnd::Fe01 => &self.front_ends[0],
            FrontEnd::Fe02 => &self.front_ends[1],
        }
    }

    /// Every name that the certificate is for, the loopback's aside.
    fn of_certificate(&self) -> Vec<&str> {
        let [other, own] = &self.front_ends;
        vec![own, other, "sip.contoso.example"]
    }
}
