//! The lab: the other end of every wire. Virtual phones behind a USB/IP server, Web Services behind HTTPS, each a peer
//! that speaks the real protocol and can be made to fail on purpose. It implements none of the program's traits.

pub mod dhcp;
pub mod dns;
pub mod faults;
mod hands;
pub mod keys;
pub mod phone;
pub mod pki;
pub mod proxy;
pub mod usbip;
pub mod web_services;

use crate::credential::{Fingerprint, KeyKind, SipAddress};
use faults::Fault;
use keys::Keys;
use phone::{KeyMaker, PhoneMaterial, VirtualPhone};
use pki::{Maker, Pki};
use secrecy::ExposeSecret;
use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;
use usbip::{AttachError, Attachment, Exporter};
use web_services::{LabTls, Options, User, WebServices};

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
    /// Which TLS the Web Services speak.
    pub tls: LabTls,
    /// What goes wrong from the beginning, in this order.
    pub faults: Vec<Fault>,
}

impl Default for LabOptions {
    fn default() -> Self {
        let (key_delay, tls, faults) = (Duration::ZERO, LabTls::default(), Vec::new());
        Self { phones: 1, users: 3, fresh_keys: true, key_delay, tls, faults }
    }
}

/// A running lab on loopback. All of it ends when this is dropped.
pub struct Lab {
    keys: Keys,
    maker: Maker,
    root: Vec<u8>,
    web: WebServices,
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

/// What a script needs to use the lab from outside: one line of `tethercert lab --json`.
#[derive(Debug, Clone, Serialize)]
pub struct Ready {
    /// Always true.
    pub lab: bool,
    /// The certificate provisioning service, by a name that resolves everywhere.
    pub certprov_url: String,
    /// The root-chain download over plain http.
    pub root_chains_url: String,
    /// File with the root of the server chain, PEM.
    pub trust_anchor: PathBuf,
    /// `host:port` of the USB/IP server.
    pub usbip: String,
    /// Folder with the definition of the lab's phones, which names their maker's root.
    pub drivers: PathBuf,
    /// A roster that gives each phone a user, by its MAC address.
    pub roster: PathBuf,
    /// Folder with the users' secrets, as a roster's are kept.
    pub secrets: PathBuf,
    /// Who can be enrolled.
    pub users: Vec<ReadyUser>,
    /// What is plugged in.
    pub phones: Vec<ReadyPhone>,
    /// What was switched on to go wrong, as `--fault` takes it.
    pub faults: Vec<String>,
}

/// A user of the lab.
#[derive(Debug, Clone, Serialize)]
pub struct ReadyUser {
    /// `alice@contoso.example`.
    pub user: SipAddress,
    /// `CONTOSO\alice`.
    pub login: String,
    /// File with the password.
    pub password_file: PathBuf,
    /// Phone number.
    pub phone_number: String,
    /// File with the PIN.
    pub pin_file: PathBuf,
}

/// A phone of the lab.
#[derive(Debug, Clone, Serialize)]
pub struct ReadyPhone {
    /// Bus id at the USB/IP server.
    pub bus_id: String,
    /// Selector: of this computer's own USB where the phone is attached to it, else of the USB/IP server.
    pub device: String,
    /// Where it is on this computer's own bus, such as `1-1`, when it is attached to the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached: Option<String>,
    /// Model.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// MAC address.
    pub mac: String,
    /// Device UUID.
    pub device_uuid: uuid::Uuid,
}

/// How long the kernel has to configure the phones that are attached to it.
const ENUMERATION: Duration = Duration::from_secs(15);

impl Lab {
    /// Starts Web Services, a USB/IP server and phones on free ports of 127.0.0.1.
    ///
    /// # Errors
    /// No port or no temporary folder could be had.
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
        let root = pki.root_der().to_vec();
        let web = WebServices::start(Options { tls: options.tls, ..Options::new(pki, users.collect()) }).await?;
        let exporter = Exporter::start().await?;
        let (phones, faults, folder) = (Vec::new(), Vec::new(), TempDir::new()?);
        let helpers = JoinSet::new();
        let (maker, attached) = (Maker::new(), Vec::new());
        let mut lab = Self { keys, maker, root, web, exporter, phones, attached, faults, helpers, folder };
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

    /// The root of the server chain, DER.
    pub fn web_root_der(&self) -> Vec<u8> {
        self.root.clone()
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
        Ready {
            lab: true,
            certprov_url: self.web.certprov_url("localhost"),
            root_chains_url: self.web.root_chains_url("localhost"),
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

    fn secret_file(&self, user: &SipAddress, what: &str) -> PathBuf {
        self.secrets().join(format!("{user}.{what}"))
    }

    fn write_files(&self) -> io::Result<()> {
        std::fs::write(self.folder.path().join("root.pem"), self.web.trust_anchor_pem())?;
        crate::folders::make_private(&self.secrets())?;
        for user in self.web.users() {
            write_secret(&self.secret_file(&user.sip, "password"), user.password.expose_secret())?;
            write_secret(&self.secret_file(&user.sip, "pin"), user.pin.expose_secret())?;
        }
        std::fs::create_dir(self.drivers())?;
        std::fs::write(self.drivers().join("acme-desk-2-lab.toml"), self.definition())
    }

    fn write_roster(&self) -> io::Result<()> {
        let mut roster = "mac,user,label\n".to_owned();
        for ((_, phone), (user, number)) in self.phones.iter().zip(self.web.users().iter().zip(1..)) {
            let mac = crate::usb::MacAddress::from_bytes(phone.material().mac);
            roster.push_str(&format!("{mac},{},Desk {number}\n", user.sip));
        }
        std::fs::write(self.roster(), roster)
    }

    /// The definition of the lab's phones. It lives in the lab's folder and is gone with it, as is the maker's key.
    fn definition(&self) -> String {
        let pem = pem(self.maker.root_der());
        format!(
            "# LAB: the virtual phones of one running lab, and the root of the maker that it made up.\n\
             name     = \"acme-desk-2-lab\"\n\
             maker    = \"Acme\"\n\
             model    = \"Desk 2 (LAB)\"\n\
             protocol = \"tether\"\n\
             expects  = [{{ class = 0xfe, subclass = 0x01, protocol = 0x01, why = \"firmware update (DFU), run-time mode\" }}]\n\n\
             [[usb]]\n\
             vendor    = 0x1209\n\
             product   = 0x0001\n\
             interface = {{ class = 0xff, subclass = 0x54, protocol = 0x01 }}\n\n\
             [authenticity]\n\
             lab   = true\n\
             roots = ['''\n{pem}''']\n\n\
             [[fact]]\n\
             says       = \"a virtual phone; its maker's root is {}\"\n\
             source     = \"docs/tether-protocol.md\"\n\
             confidence = \"lab\"\n",
            Fingerprint::of(self.maker.root_der()).short(),
        )
    }
}

/// A file that only this user may read.
fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    let options = &mut std::fs::OpenOptions::new();
    let options = options.write(true).create_new(true);
    #[cfg(unix)]
    let options = std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    io::Write::write_all(&mut options.open(path)?, secret.as_bytes())
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
