//! What a script needs to use the lab from outside.

use crate::credential::SipAddress;
use serde::Serialize;
use std::path::PathBuf;

/// Where everything is: one line of `tethercert lab --json`.
#[derive(Debug, Clone, Serialize)]
pub struct Ready {
    /// Always true.
    pub lab: bool,
    /// The certificate provisioning service, by a name that resolves everywhere.
    pub certprov_url: String,
    /// The root-chain download over plain http.
    pub root_chains_url: String,
    /// `host:port` of the registrar, SIP over TLS.
    pub registrar: String,
    /// What the registrar calls itself: the `targetname` of its challenges.
    pub registrar_name: String,
    /// `host:port` of the DHCP server: it answers phones' queries, straight.
    pub dhcp: String,
    /// `host:port` of the DNS server, which leads the names to this computer.
    pub dns: String,
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
