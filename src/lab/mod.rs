//! The lab: the other end of every wire. Virtual phones behind a USB/IP server, Web Services behind HTTPS, each a peer
//! that speaks the real protocol and can be made to fail on purpose. It implements none of the program's traits.

pub mod dhcp;
pub mod dns;
pub mod faults;
mod files;
mod hands;
pub mod keys;
mod listeners;
pub mod network;
mod ntlm;
pub mod phone;
pub mod pki;
pub mod proxy;
mod ready;
pub mod registrar;
pub mod usbip;
pub mod web_services;

pub use ready::{Ready, ReadyPhone, ReadyUser};

use crate::credential::{KeyKind, SipAddress};
use faults::Fault;
use keys::{Keys, Pkcs8};
use network::Network;
use phone::{KeyMaker, PhoneMaterial, VirtualPhone};
use pki::{Maker, Pki, ServerFaults};
use registrar::Registrar;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::Instant;
use usbip::{AttachError, Attachment, Exporter};
use web_services::{LabTls, Options, Published, User, WebServices};

/// What a lab is made of.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// How many phones are plugged in: on `1-1`, `1-2` and so on, at most 99.
    pub phones: u8,
    /// How many users there are at least, at most 99; there is one for each phone in any case, and never fewer than three.
    pub users: u8,
    /// Whether every key is new. Tests take a handful of keys in turn instead: they are fast, and nobody's secret.
    pub fresh_keys: bool,
    /// How long making a key seems to take a phone, beside what it takes.
    pub key_delay: Duration,
    /// Which TLS the Web Services and the registrar speak.
    pub tls: LabTls,
    /// Where the servers listen.
    pub ports: Ports,
    /// The name by which Web Services and registrar are reached instead of `localhost`. It has to lead to this computer.
    pub server_name: Option<String>,
    /// Who the first user is, instead of Alice with a new password.
    pub first_user: Option<User>,
    /// What goes wrong from the beginning, in this order.
    pub faults: Vec<Fault>,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self {
            phones: 1,
            users: 3,
            fresh_keys: true,
            key_delay: Duration::ZERO,
            tls: LabTls::default(),
            ports: Ports::default(),
            server_name: None,
            first_user: None,
            faults: Vec::new(),
        }
    }
}

/// The ports of 127.0.0.1 on which a lab listens; any where it is 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ports {
    /// Web Services over HTTPS.
    pub https: u16,
    /// The issuing CA's certificate and the root chains, over plain http.
    pub http: u16,
    /// The registrar, SIP over TLS.
    pub registrar: u16,
    /// The USB/IP server.
    pub usbip: u16,
}

/// A running lab on loopback. All of it ends when this is dropped.
pub struct Lab {
    keys: Keys,
    maker: Maker,
    root: Vec<u8>,
    pki: Arc<Pki>,
    web: WebServices,
    registrar: Registrar,
    network: Network,
    server_name: Option<String>,
    exporter: Exporter,
    phones: Vec<(String, VirtualPhone)>,
    attached: Vec<Attached>,
    faults: Vec<Fault>,
    /// Who puts cables in again that a fault has pulled.
    helpers: JoinSet<()>,
    folder: TempDir,
}

/// A phone that this computer's kernel has.
struct Attached {
    attachment: Attachment,
    /// Its name on the kernel's bus, where it has appeared there.
    place: Option<String>,
}

/// What DHCP and DNS call the Web Services.
const WEB_NAME: &str = "web.contoso.example";

/// The name that leads to this computer everywhere.
const LOCALHOST: &str = "localhost";

/// How long the kernel has to configure the phones that are attached to it.
const ENUMERATION: Duration = Duration::from_secs(15);

impl Lab {
    /// Starts Web Services, a registrar, a USB/IP server and phones on 127.0.0.1.
    ///
    /// # Errors
    /// A port or a temporary folder could not be had.
    pub async fn start(options: &LabOptions) -> io::Result<Self> {
        let keys =
            if options.fresh_keys { Keys::fresh(usize::from(options.phones).clamp(1, 4)) } else { Keys::recycled() };
        let pki = if options.fresh_keys {
            let keys = keys.clone();
            let made = tokio::task::spawn_blocking(move || Arc::new(Pki::new(&keys))).await;
            made.map_err(io::Error::other)?
        } else {
            shared_pki()
        };
        let users = (0..options.users.max(options.phones).clamp(3, 99)).map(User::of_the_lab);
        let mut users: Vec<User> = users.collect();
        if let Some(first) = &options.first_user {
            users.retain(|user| user.sip != first.sip);
            users.insert(0, first.clone());
        }
        let root = pki.root_der().to_vec();
        let web = Options {
            tls: options.tls,
            https_port: options.ports.https,
            http_port: options.ports.http,
            server_name: options.server_name.clone(),
            ..Options::new(Arc::clone(&pki), users.clone())
        };
        let web = WebServices::start(web).await?;
        let server_name = options.server_name.clone();
        let registrar = registrar::Options {
            pki: Arc::clone(&pki),
            users,
            store: web.store().clone(),
            sts_uri: web.certprov_url(server_name.as_deref().unwrap_or(LOCALHOST)),
            issuer_url: web.issuer_url(),
            server_faults: ServerFaults::default(),
            tls: options.tls,
            port: options.ports.registrar,
            server_name: server_name.clone(),
        };
        let registrar = Registrar::start(registrar).await?;
        let web_name = server_name.as_deref().unwrap_or(WEB_NAME);
        let named = (registrar.target_name(), registrar.address().port());
        let network = Network::start((web_name, web.address().port()), named).await?;
        let exporter = Exporter::start_at(options.ports.usbip).await?;
        let (phones, faults, folder) = (Vec::new(), Vec::new(), TempDir::new()?);
        let helpers = JoinSet::new();
        let (maker, attached) = (Maker::new(), Vec::new());
        let mut lab = Self {
            keys,
            maker,
            root,
            pki,
            web,
            registrar,
            network,
            server_name,
            exporter,
            phones,
            attached,
            faults,
            helpers,
            folder,
        };
        lab.write_files()?;
        for number in 1..=options.phones.min(99) {
            let mut material = lab.material(number);
            material.key_delay = options.key_delay;
            lab.plug(material);
        }
        for fault in &options.faults {
            lab.apply(fault)?;
        }
        lab.write_roster()?;
        Ok(lab)
    }

    /// Switches a fault on. Those of a phone are the first phone's where the fault does not say which.
    ///
    /// # Errors
    /// TLS refuses the chain that the fault makes.
    pub fn apply(&mut self, fault: &Fault) -> io::Result<()> {
        fault.apply(self)?;
        self.faults.push(fault.clone());
        Ok(())
    }

    /// An Acme Desk 2 with a factory key of the lab's maker.
    pub fn material(&self, number: u8) -> PhoneMaterial {
        let keys = self.keys.clone();
        let maker: KeyMaker = Arc::new(move |kind: KeyKind| keys.take(kind));
        let mut material = PhoneMaterial::new(number, maker);
        let factory = self.maker.factory(&material.model, &material.serial, material.mac);
        material.factory = Some((factory.chain, factory.key));
        material
    }

    /// Plugs another phone in.
    pub fn plug(&mut self, material: PhoneMaterial) -> VirtualPhone {
        let bus_id = format!("1-{}", self.phones.len() + 1);
        let phone = VirtualPhone::new(material);
        self.exporter.plug(&bus_id, Box::new(phone.device()));
        self.phones.push((bus_id, phone.clone()));
        phone
    }

    /// Hands all phones to this computer's own kernel, where they are phones like any other, and waits until it has
    /// configured them. A phone that a fault keeps from that has no place.
    ///
    /// # Errors
    /// [`AttachError`] names what this computer lacks for it.
    pub async fn attach(&mut self) -> Result<(), AttachError> {
        for (bus_id, _) in &self.phones {
            self.attached.push(Attached { attachment: self.exporter.attach(bus_id)?, place: None });
        }
        let until = Instant::now() + ENUMERATION;
        for attached in &mut self.attached {
            match attached.attachment.appeared(until.saturating_duration_since(Instant::now())).await {
                Ok(place) => attached.place = Some(place),
                Err(AttachError::NotSeen { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes all phones from the kernel, and waits until it has let go of them.
    pub async fn detach(&mut self) {
        for attached in self.attached.drain(..) {
            attached.attachment.detach().await;
        }
    }

    /// Plugs another phone into a port where one was.
    pub fn replace(&mut self, bus_id: &str, material: PhoneMaterial) -> VirtualPhone {
        let phone = VirtualPhone::new(material);
        self.exporter.plug(bus_id, Box::new(phone.device()));
        for (taken, before) in &mut self.phones {
            if taken == bus_id {
                *before = phone.clone();
            }
        }
        phone
    }

    /// What was switched on to go wrong, in that order.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The roots that an old firmware knows: one that has ended, and one of somebody else.
    pub(in crate::lab) fn old_roots(&self) -> Vec<Vec<u8>> {
        pki::old_roots(&self.keys)
    }

    /// The phones with their bus ids, in the order they were plugged in.
    pub fn phones(&self) -> &[(String, VirtualPhone)] {
        &self.phones
    }

    /// The first phone.
    ///
    /// # Panics
    /// When the lab was started without phones.
    pub fn phone(&self) -> &VirtualPhone {
        &self.phones.first().expect("the lab has a phone").1
    }

    /// The Web Services.
    pub fn web(&self) -> &WebServices {
        &self.web
    }

    /// The registrar.
    pub fn registrar(&self) -> &Registrar {
        &self.registrar
    }

    /// A certificate that is published for this user and a device of its own, without the Web Services' doing, and its key.
    ///
    /// # Panics
    /// When making a key does.
    pub async fn enrolled(&self, user: &SipAddress) -> (Vec<u8>, Pkcs8) {
        let key = self.keys.ready(KeyKind::Rsa2048).await;
        let now = OffsetDateTime::now_utc();
        let (published, expires) = (now - time::Duration::minutes(5), now + time::Duration::days(180));
        let certificate = self.pki.users().certify(user.as_str(), &key, published, expires);
        let (user, device) = (user.clone(), uuid::Uuid::new_v4());
        let certificate = self.web.store().insert(Published { user, device, certificate, published, expires });
        (certificate, key)
    }

    /// The root of the server chain, DER.
    pub fn web_root_der(&self) -> Vec<u8> {
        self.root.clone()
    }

    /// What the network tells phones.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The USB/IP server.
    pub fn exporter(&self) -> &Exporter {
        &self.exporter
    }

    /// `host:port` of the USB/IP server.
    pub fn usbip(&self) -> SocketAddr {
        self.exporter.address()
    }

    /// Folder with the definition of the lab's phones.
    pub fn drivers(&self) -> PathBuf {
        self.folder.path().join("drivers")
    }

    /// Roster that gives each phone that was there at the start a user.
    pub fn roster(&self) -> PathBuf {
        self.folder.path().join("roster.csv")
    }

    /// Folder with the users' secrets.
    pub fn secrets(&self) -> PathBuf {
        self.folder.path().join("secrets")
    }

    /// The lab's temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a script needs to use the lab.
    pub fn ready(&self) -> Ready {
        let users = self.web.users().iter().map(|user| ReadyUser {
            user: user.sip.clone(),
            login: user.login.clone(),
            password_file: self.secret_file(&user.sip, "password"),
            phone_number: user.number.clone(),
            pin_file: self.secret_file(&user.sip, "pin"),
        });
        let phones = self.phones.iter().map(|(bus_id, phone)| {
            let material = phone.material();
            let attached = self.attached.iter().find(|attached| attached.attachment.bus_id() == bus_id);
            let place = attached.and_then(|attached| attached.place.clone());
            ReadyPhone {
                bus_id: bus_id.clone(),
                device: match &place {
                    Some(place) => format!("port:{place}"),
                    None => format!("port:{}/{bus_id}", self.usbip()),
                },
                attached: place,
                model: format!("{} {}", material.maker, material.model),
                serial: material.serial,
                mac: crate::usb::MacAddress::from_bytes(material.mac).to_string(),
                device_uuid: material.device,
            }
        });
        let host = self.server_name.as_deref().unwrap_or(LOCALHOST);
        Ready {
            lab: true,
            certprov_url: self.web.certprov_url(host),
            root_chains_url: self.web.root_chains_url(host),
            registrar: self.registrar.host_and_port(),
            registrar_name: self.registrar.target_name().to_owned(),
            dhcp: self.network.dhcp().to_string(),
            dns: self.network.dns().to_string(),
            trust_anchor: self.folder.path().join("root.pem"),
            usbip: self.usbip().to_string(),
            drivers: self.drivers(),
            roster: self.roster(),
            secrets: self.secrets(),
            users: users.collect(),
            phones: phones.collect(),
            faults: self.faults.iter().map(Fault::to_string).collect(),
        }
    }
}

/// The authorities that all labs of a process share when their keys need not be new.
fn shared_pki() -> Arc<Pki> {
    static PKI: OnceLock<Arc<Pki>> = OnceLock::new();
    PKI.get_or_init(|| Arc::new(Pki::new(&Keys::recycled()))).clone()
}

pub(in crate::lab) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
