//! What a command works with: the bus, the definitions, this computer's key, and with `--lab` a whole lab.

use super::ask::Person;
use super::error::CliError;
use super::list;
use super::screen::{Screen, Tone};
use super::settings::{PoolSettings, Who, config_folder, of_environment};
use clap::Args;
use serde::Serialize;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tethercert::credential::Thumbprint;
use tethercert::lab::faults::Fault;
use tethercert::lab::{Lab, LabOptions};
use tethercert::ledger;
use tethercert::phone::definition::Definitions;
use tethercert::phone::tether::HostKey;
use tethercert::phone::{Finder, Found, PhoneError};
use tethercert::pool::{HostAndPort, PoolName, without_password};
use tethercert::provision::{Rehearsal, Stop};
use tethercert::registrar::Server;
use tethercert::service::ocauth::{DownloadPlace, Pool, Profile, RootDownload, Settings};
use tethercert::tls::{Engine, Proxy, Resolve};
use tethercert::usb::capture::Tap;
use tethercert::usb::{Doing, Selector, Usb, UsbError, UsbIpHost, UsbLibrary, Where};
use url::{Host, Url};

/// Where `--drivers` is looked for when it is not given.
const DRIVERS: &str = "TETHERCERT_DRIVERS";
/// Where `--ledger` is looked for when it is not given.
const LEDGER: &str = "TETHERCERT_LEDGER";
/// Where `--usb-backend` is looked for when it is not given.
const USB_BACKEND: &str = "TETHERCERT_USB_BACKEND";
/// Where `--usbip` is looked for when it is not given.
const USBIP: &str = "TETHERCERT_USBIP";
/// Where this program's own USB transfers are noted.
const USB_TRACE: &str = "TETHERCERT_USB_TRACE";
/// The lab's pool as the screen names it. It resolves nowhere: the embedded lab says where it is.
const LAB_HOST: &str = "web.contoso.example";
/// Its registrar, the same way.
const LAB_REGISTRAR: &str = "sip.contoso.example";

/// Where phones are looked for.
#[derive(Args, Debug, Default)]
pub(crate) struct BusArgs {
    /// USB/IP server to look at instead of this computer's USB [env: TETHERCERT_USBIP]
    #[arg(long, help_heading = "Phone", value_name = "HOST:PORT")]
    pub(crate) usbip: Option<UsbIpHost>,
    /// How this computer's own USB is reached: system, or libusb where this build has it [env: TETHERCERT_USB_BACKEND]
    /// [default: system]
    #[arg(long, help_heading = "Phone", value_name = "LIBRARY", conflicts_with = "usbip")]
    pub(crate) usb_backend: Option<UsbLibrary>,
    /// Folder with further phone definitions; may be repeated [env: TETHERCERT_DRIVERS]
    #[arg(long, help_heading = "Phone", value_name = "DIR")]
    pub(crate) drivers: Vec<PathBuf>,
    /// Use a lab inside this command: virtual phones and Web Services on loopback, nothing real
    #[arg(long, help_heading = "Phone")]
    pub(crate) lab: bool,
    /// Fault to switch on in that lab; may be repeated; `lab --fault help` lists them
    #[arg(long, help_heading = "Phone", value_name = "NAME[=VALUE]", requires = "lab")]
    pub(crate) fault: Vec<Fault>,
}

/// Which phone is meant.
#[derive(Args, Debug)]
pub(crate) struct PhoneArgs {
    /// Phone to use: port:…, serial:… or mac:… [default: the only one connected]
    #[arg(long, help_heading = "Phone", value_name = "SELECTOR")]
    pub(crate) device: Option<Selector>,
    /// File with this computer's key for the cable [default: beside the ledger]
    #[arg(long, help_heading = "Phone", value_name = "FILE")]
    pub(crate) host_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) bus: BusArgs,
}

/// Which pool is meant.
#[derive(Args, Debug, Clone)]
pub(crate) struct PoolArgs {
    /// Configured pool [env: TETHERCERT_POOL] [default: the one that serves the user's SIP domain, else the only one]
    ///
    /// `tethercert setup pool` configures one. Options take the place of what its file says, a list as a whole; an address
    /// that is given without a name is a pool of its own.
    #[arg(long, help_heading = "Pool", value_name = "NAME")]
    pub(crate) pool: Option<PoolName>,
    #[command(flatten)]
    pub(crate) at: PoolOptions,
    /// Further server that the phone has to trust, besides the registrar; may be repeated
    #[arg(long, help_heading = "Pool", value_name = "HOST:PORT")]
    pub(crate) also_server: Vec<HostAndPort>,
    /// Thumbprint (SHA-1 or SHA-256) of the root of the pool's chain, as the administrator says it; another root is refused
    #[arg(long, help_heading = "Pool", value_name = "HEX")]
    pub(crate) root_thumbprint: Option<Thumbprint>,
    /// Where the pool offers its root chains over plain http [default: port 80 of the Web Services]
    ///
    /// Asked only where a profile says what the request is called.
    #[arg(long, help_heading = "Pool", value_name = "URL")]
    pub(crate) root_chains_url: Option<Url>,
    /// First say where every setting comes from
    #[arg(long, help_heading = "Pool")]
    pub(crate) explain: bool,
}

/// How a pool is reached.
#[derive(Args, Debug, Clone)]
pub(crate) struct PoolOptions {
    /// Certificate provisioning service of the pool [env: TETHERCERT_CERTPROV_URL]
    ///
    /// Like https://web.contoso.example/CertProv/CertProvisioningService.svc.
    #[arg(long, help_heading = "Pool", value_name = "URL")]
    pub(crate) certprov_url: Option<String>,
    /// Registrar that the phone goes by afterwards [env: TETHERCERT_REGISTRAR]
    #[arg(long, help_heading = "Pool", value_name = "HOST:PORT")]
    pub(crate) registrar: Option<HostAndPort>,
    /// File with CA certificates to trust besides the system's (PEM, DER, PKCS#7); may be repeated [env:
    /// TETHERCERT_TRUST_ANCHOR]
    #[arg(long, help_heading = "Pool", value_name = "FILE")]
    pub(crate) trust_anchor: Vec<PathBuf>,
    /// TLS for the pool: modern, or legacy for servers that have nothing newer [env: TETHERCERT_TLS] [default: modern]
    #[arg(long, help_heading = "Pool", value_name = "ENGINE")]
    pub(crate) tls: Option<Engine>,
    /// Way to the pool: system, straight, or an HTTP proxy [env: TETHERCERT_PROXY] [default: system]
    #[arg(long, help_heading = "Pool", value_name = "PROXY", value_parser = proxy_without_password)]
    pub(crate) proxy: Option<Proxy>,
    /// Connect to ADDRESS when HOST and PORT are meant; may be repeated
    #[arg(long, help_heading = "Pool", value_name = "HOST:PORT:ADDRESS")]
    pub(crate) resolve: Vec<Resolve>,
    /// Let this host receive credentials though it is outside the user's SIP domain; may be repeated
    #[arg(long, help_heading = "Pool", value_name = "HOST")]
    pub(crate) allow_host: Vec<String>,
    /// File with what is not public about the pool: without one no PIN is sent to it
    #[arg(long, help_heading = "Pool", value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
}

/// Others can read a command line.
fn proxy_without_password(text: &str) -> Result<Proxy, tethercert::pool::BadWord> {
    text.parse().and_then(without_password)
}

/// A pool that was chosen.
pub(crate) struct ChosenPool {
    pub(crate) pool: Pool,
    /// As the phone will use it.
    pub(crate) url: String,
    /// Whether it is a lab's.
    pub(crate) lab: bool,
    /// What it was made of.
    pub(crate) settings: PoolSettings,
}

/// What a command works with.
pub(crate) struct Bench {
    pub(crate) finder: Finder,
    /// The embedded lab.
    pub(crate) lab: Option<Lab>,
    /// Whether the way to the phones leads to a lab's.
    pub(crate) lab_phones: bool,
    /// Whether the phones are another machine's, or a lab's, over USB/IP.
    pub(crate) is_usbip: bool,
    screen: Screen,
}

#[derive(Serialize)]
struct WarningLine<'a> {
    warning: &'static str,
    pool: &'a str,
    message: &'a str,
}

/// Whether a phone will know this computer again.
pub(crate) enum HostKeyFrom<'a> {
    /// A key of this run, for commands that open no session.
    Nowhere,
    /// The file that is given, else the usual one.
    File(Option<&'a PathBuf>),
}

impl Bench {
    /// For a command that only lists.
    pub(crate) async fn to_list(bus: &BusArgs, screen: &Screen) -> Result<Self, CliError> {
        Self::open(bus, HostKeyFrom::Nowhere, 1, screen).await
    }

    /// For a command that only reads a roster of so many phones.
    pub(crate) async fn to_lint(bus: &BusArgs, phones: usize, screen: &Screen) -> Result<Self, CliError> {
        Self::open(bus, HostKeyFrom::Nowhere, phones, screen).await
    }

    /// For a command that needs a phone.
    pub(crate) async fn for_a_phone(args: &PhoneArgs, screen: &Screen) -> Result<Self, CliError> {
        Self::for_phones(args, 1, screen).await
    }

    /// For a command that needs several: the embedded lab has so many.
    pub(crate) async fn for_phones(args: &PhoneArgs, phones: usize, screen: &Screen) -> Result<Self, CliError> {
        if args.bus.lab {
            screen.mark_lab();
            refuse_in_lab(args.host_key.is_some(), "--host-key")?;
            refuse_in_lab(matches!(args.device, Some(Selector::Port(_))), "--device port:…")?;
        }
        Self::open(&args.bus, HostKeyFrom::File(args.host_key.as_ref()), phones, screen).await
    }

    async fn open(bus: &BusArgs, key: HostKeyFrom<'_>, phones: usize, screen: &Screen) -> Result<Self, CliError> {
        if bus.lab {
            screen.mark_lab();
            refuse_in_lab(bus.usbip.is_some(), "--usbip")?;
            refuse_in_lab(bus.usb_backend.is_some(), "--usb-backend")?;
        }
        let lab = match bus.lab {
            true => {
                let phones = u8::try_from(phones).unwrap_or(u8::MAX);
                let options = LabOptions { phones, faults: bus.fault.clone(), ..LabOptions::default() };
                Some(Lab::start(&options).await.map_err(CliError::Lab)?)
            }
            false => None,
        };
        let definitions = definitions(bus, lab.as_ref())?;
        let (usb, lab_phones, is_usbip) = match &lab {
            Some(lab) => (Usb::usbip(lab.usbip().into()), true, true),
            None => match way(bus)? {
                Way::UsbIp(host) => (Usb::usbip(host.clone()), is_loopback(host.host()), true),
                Way::Own(library) => (Usb::by(library)?, false, false),
            },
        };
        let usb = match std::env::var_os(USB_TRACE).filter(|path| !path.is_empty()) {
            Some(path) => usb.tapped_by(Tap::create(Path::new(&path))?),
            None => usb,
        };
        let host_key = match key {
            HostKeyFrom::Nowhere => HostKey::ephemeral(),
            HostKeyFrom::File(_) if lab.is_some() => HostKey::ephemeral(),
            HostKeyFrom::File(Some(path)) => HostKey::load_or_create(path)?,
            HostKeyFrom::File(None) => HostKey::load_or_create(&ledger::default_path()?.with_file_name("host-key"))?,
        };
        let finder =
            Finder { usb, definitions: Arc::new(definitions), host_key: Arc::new(host_key), host_label: host_label() };
        Ok(Self { finder, lab, lab_phones, is_usbip, screen: screen.clone() })
    }

    /// Whether a lab's phone can be among those that are found: on this computer's own USB it shows by its maker's
    /// certificate that it is one, and for that the definition of such a phone has to be given.
    pub(crate) fn may_have_lab_phones(&self) -> bool {
        self.lab_phones || !self.is_usbip && self.finder.definitions.iter().any(|definition| definition.lab_maker)
    }

    /// The one phone that is meant.
    pub(crate) async fn pick(&self, device: Option<&Selector>) -> Result<Found, CliError> {
        self.finder.pick(device).await.map_err(|error| match error {
            // Which phone is meant has nothing to do with a cable.
            PhoneError::Usb { source, .. } => source.into(),
            other => other.into(),
        })
    }

    /// The same; on a terminal a person picks one of several.
    pub(crate) async fn pick_with_help(&self, device: Option<&Selector>, stop: &Stop) -> Result<Found, CliError> {
        let error = match (self.pick(device).await, Person::at(&self.screen, stop)) {
            (Ok(found), _) => return Ok(found),
            (Err(CliError::Usb(UsbError::Ambiguous { .. })), Some(person)) if device.is_none() => {
                let mut found = self.finder.list().await?;
                found.retain(|phone| phone.spoken().is_some());
                list::numbered(&found, &self.screen);
                let number = person.number("which phone?", found.len()).await?;
                // It may have gone meanwhile, or another may be in its place.
                let chosen = found.swap_remove(number);
                let again = self.pick(Some(&Selector::Port(chosen.slot().clone()))).await?;
                let (now, then) = (&again.attached, &chosen.attached);
                if (now.address, &now.strings) != (then.address, &then.strings) {
                    let at = Where::Port(then.slot.clone());
                    return Err(UsbError::Unplugged { at, during: Doing::Opening }.into());
                }
                return Ok(again);
            }
            (Err(error), _) => error,
        };
        Err(error)
    }

    /// The pool that is meant, if one is.
    pub(crate) fn pool(&self, args: &PoolArgs) -> Result<Option<ChosenPool>, CliError> {
        self.pool_for(args, Who::default())
    }

    /// The same for a user, whose SIP domain may choose it.
    pub(crate) fn pool_for(&self, args: &PoolArgs, who: Who) -> Result<Option<ChosenPool>, CliError> {
        let chosen = match &self.lab {
            Some(lab) => PoolSettings::in_lab(args, who, Pool::address(&lab.web().certprov_url(LAB_HOST))?)?,
            None => PoolSettings::of(args, who)?,
        };
        ChosenPool::of(chosen, self.lab.as_ref(), self.may_have_lab_phones(), args.explain, &self.screen)
    }
}

/// This end of the wire to a pool.
enum End {
    /// Phones, which may be a lab's or not. They have to trust every server.
    Phones { lab: bool },
    /// This computer stands for one: as good as a lab's phone where the pool is a lab, and the judge of each server as it
    /// meets it.
    ThisComputer,
}

impl ChosenPool {
    /// The pool that is meant by a command that needs no phone, since this computer stands for one.
    pub(crate) fn without_phone(
        embedded: Option<&Lab>,
        args: &PoolArgs,
        who: Who,
        screen: &Screen,
    ) -> Result<Option<Self>, CliError> {
        let chosen = match embedded {
            Some(lab) => PoolSettings::in_lab(args, who, Pool::address(&lab.web().certprov_url(LAB_HOST))?)?,
            None => PoolSettings::of(args, who)?,
        };
        Self::made(chosen, embedded, &End::ThisComputer, args.explain, screen)
    }

    /// The registrar that is configured, or the embedded lab's.
    pub(crate) fn registrar(&self, embedded: Option<&Lab>) -> Option<Server> {
        let configured = self.settings.registrar.as_ref().map(|registrar| &registrar.value);
        let configured =
            configured.map(|registrar| Server { host: registrar.host().to_owned(), port: registrar.port(), at: None });
        let in_lab = || {
            let port = embedded?.registrar().address().port();
            Some(Server { host: LAB_REGISTRAR.to_owned(), port, at: None })
        };
        configured.or_else(in_lab)
    }

    /// Where a sign-in is rehearsed: that registrar, or else the one that the phone knows.
    pub(crate) fn rehearsal(&self, embedded: Option<&Lab>) -> Rehearsal {
        Rehearsal { by: self.pool.connector(), registrar: self.registrar(embedded) }
    }

    /// The pool that was settled on, if its address is known. Says what has to be said about it; nothing is connected to.
    pub(crate) fn of(
        chosen: PoolSettings,
        embedded: Option<&Lab>,
        lab_phones: bool,
        explain: bool,
        screen: &Screen,
    ) -> Result<Option<Self>, CliError> {
        Self::made(chosen, embedded, &End::Phones { lab: lab_phones }, explain, screen)
    }

    fn made(
        chosen: PoolSettings,
        embedded: Option<&Lab>,
        end: &End,
        explain: bool,
        screen: &Screen,
    ) -> Result<Option<Self>, CliError> {
        let url = chosen.certprov_url.as_ref().map(|url| url.value.clone());
        let lab = embedded.is_some() || url.as_ref().is_some_and(|url| is_lab_pool(url, &chosen.resolve.value));
        if lab {
            screen.mark_lab();
        }
        if explain {
            chosen.explain(screen);
        }
        let Some(url) = url else { return Ok(None) };
        warn_of_old_tls(chosen.engine.value, &chosen.name(), &chosen.engine.origin.to_string(), screen);
        let mut trust = chosen.trust()?;
        let mut resolve = chosen.resolve.value.clone();
        if let Some(lab) = embedded {
            let address = lab.web().address();
            trust.add_file(&lab.ready().trust_anchor)?;
            resolve.push(Resolve { host: LAB_HOST.to_owned(), port: address.port(), address });
            let address = lab.registrar().address();
            resolve.push(Resolve { host: LAB_REGISTRAR.to_owned(), port: address.port(), address });
        }
        let mut settings = Settings::new(url, trust);
        settings.resolve = resolve;
        settings.allowed_hosts.clone_from(&chosen.allow_hosts.value);
        settings.engine = chosen.engine.value;
        settings.proxy = chosen.proxy.value.clone();
        let registrar = chosen.registrar.iter().map(|registrar| &registrar.value);
        let judged = registrar.chain(&chosen.also_servers.value).filter(|_| matches!(end, End::Phones { .. }));
        for server in judged {
            let server = (server.host().to_owned(), server.port());
            if !settings.also_servers.contains(&server) {
                settings.also_servers.push(server);
            }
        }
        let embedded_url = || Url::parse(&embedded?.web().root_chains_url("127.0.0.1")).ok();
        settings.root_download = RootDownload {
            place: match chosen.root_chains_url.clone().or_else(embedded_url) {
                Some(url) => DownloadPlace::At(url),
                // What listens on port 80 of this computer may be anything.
                None if lab => DownloadPlace::Nowhere,
                None => DownloadPlace::Usual,
            },
            // There is no secret in it, so it needs no lab phone at the other end.
            profile: lab.then(Profile::lab),
            thumbprint: chosen.root_thumbprint,
        };
        // Without a file a PIN goes only where both ends of the wire are a lab's.
        settings.profile = match &chosen.profile {
            Some(file) => Some(Profile::from_file(&file.value)?),
            None => (lab && !matches!(end, End::Phones { lab: false })).then(Profile::lab),
        };
        let pool = Pool::new(settings)?;
        Ok(Some(Self { url: pool.certprov_url().to_string(), pool, lab, settings: chosen }))
    }
}

/// Says aloud that a pool is reached by old TLS, if it is: in every output of a command that does so.
pub(crate) fn warn_of_old_tls(engine: Engine, pool: &str, origin: &str, screen: &Screen) {
    if engine == Engine::Modern {
        return;
    }
    let message = format!(
        "pool {pool} is reached by old TLS (legacy, {origin}): TLS 1.0 to 1.2 with ciphers that are \
         no longer called safe; have the server offer ECDHE with AES-GCM"
    );
    screen.json("warning", &WarningLine { warning: "legacy_tls", pool, message: &message });
    screen.toned(Tone::Unsure, "OLD TLS", &message);
}

/// The lab knows its own phones, and what was named beside it: nothing that this computer is set up for.
pub(crate) fn definitions(bus: &BusArgs, lab: Option<&Lab>) -> Result<Definitions, CliError> {
    let mut folders = bus.drivers.clone();
    if let Some(lab) = lab {
        folders.push(lab.drivers());
        return Ok(Definitions::load(None, &folders)?);
    }
    if folders.is_empty() {
        folders.extend(std::env::var_os(DRIVERS).iter().flat_map(std::env::split_paths));
    }
    let own = config_folder().map(|folder| folder.join("drivers")).or_else(Definitions::user_folder);
    Ok(Definitions::load(own.as_deref(), &folders)?)
}

/// A way to phones.
pub(crate) enum Way {
    /// A USB/IP server.
    UsbIp(UsbIpHost),
    /// This computer's own USB.
    Own(UsbLibrary),
}

/// The way that is meant: an option is stronger than the environment, whichever of the two it is about.
pub(crate) fn way(bus: &BusArgs) -> Result<Way, CliError> {
    match (bus.usb_backend, usbip_host(bus)?) {
        (Some(library), _) => Ok(Way::Own(library)),
        (None, Some(host)) => Ok(Way::UsbIp(host)),
        (None, None) => {
            Ok(Way::Own(of_environment(USB_BACKEND)?.map_or(UsbLibrary::default(), |library| library.value)))
        }
    }
}

/// The USB/IP server that is given, else the one that this computer is set up for.
pub(crate) fn usbip_host(bus: &BusArgs) -> Result<Option<UsbIpHost>, CliError> {
    match &bus.usbip {
        Some(host) => Ok(Some(host.clone())),
        None => Ok(of_environment(USBIP)?.map(|host| host.value)),
    }
}

/// The ledger that is given, else the usual one.
pub(crate) fn ledger_path(given: Option<&PathBuf>) -> Result<PathBuf, CliError> {
    match given.cloned().or_else(|| std::env::var_os(LEDGER).filter(|path| !path.is_empty()).map(PathBuf::from)) {
        Some(path) => Ok(path),
        None => Ok(ledger::default_path()?),
    }
}

/// An option that reaches for something real has no place beside `--lab`.
pub(crate) fn refuse_in_lab(given: bool, option: &str) -> Result<(), CliError> {
    if !given {
        return Ok(());
    }
    Err(CliError::refused(
        format!("--lab is a world of its own: {option} is refused"),
        format!("leave out {option} to see the lab, or leave out --lab for the real thing"),
    ))
}

/// Whether the pool at `url` is a lab: its host is this computer by an address that leads nowhere else, or is led there.
pub(crate) fn is_lab_pool(url: &Url, resolve: &[Resolve]) -> bool {
    let host = match url.host() {
        Some(Host::Domain(name)) => is_loopback(name),
        Some(Host::Ipv4(ip)) => leads_here(ip.into()),
        Some(Host::Ipv6(ip)) => leads_here(ip.into()),
        None => false,
    };
    let (name, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default());
    let meant = |it: &&Resolve| Some(it.port) == port && it.host.eq_ignore_ascii_case(name);
    host || resolve.iter().find(meant).is_some_and(|it| leads_here(it.address.ip()))
}

fn is_loopback(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    name.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(leads_here)
}

/// Also for an IPv4 address in IPv6's clothes.
fn leads_here(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// What phones and the ledger call this computer.
pub(crate) fn host_label() -> String {
    let name: String = host_name().unwrap_or_default().trim().chars().take(32).collect();
    if name.is_empty() { "tethercert".to_owned() } else { name }
}

fn host_name() -> Option<String> {
    if cfg!(windows) {
        return std::env::var("COMPUTERNAME").ok();
    }
    // Linux has it in a file; elsewhere, macOS above all, a program of every Unix says it.
    std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| {
        let said = std::process::Command::new("uname").arg("-n").output().ok()?;
        String::from_utf8(said.stdout).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_a_lab_only_by_an_address_of_this_computer() {
        let is_lab = |url: &str, led: &[&str]| {
            let led: Vec<Resolve> = led.iter().map(|it| it.parse().unwrap()).collect();
            is_lab_pool(&Url::parse(url).unwrap(), &led)
        };
        for lab in [
            "https://localhost:4443/x",
            "https://LOCALHOST./",
            "https://127.0.0.1/x",
            "https://127.9.9.9/x",
            "https://[::1]:1/x",
            "https://[::ffff:127.0.0.1]/",
        ] {
            assert!(is_lab(lab, &[]), "{lab}");
        }
        for real in ["https://web.contoso.example/", "https://localhost.contoso.example/", "https://192.0.2.1/"] {
            assert!(!is_lab(real, &[]), "{real}");
        }
        let real = "https://web.contoso.example/x";
        assert!(is_lab(real, &["WEB.contoso.example:443:127.0.0.1:4443"]));
        assert!(is_lab(real, &["web.contoso.example:443:[::1]"]));
        let elsewhere = ["web.contoso.example:443:192.0.2.7", "web.contoso.example:443:127.0.0.1"];
        assert!(!is_lab(real, &elsewhere), "the first that fits counts");
        assert!(!is_lab(real, &["web.contoso.example:444:127.0.0.1", "sip.contoso.example:443:127.0.0.1"]));
    }
}
