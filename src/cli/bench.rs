//! What a command works with: the bus, the definitions, this computer's key, and with `--lab` a whole lab.

use super::error::CliError;
use super::screen::Screen;
use clap::Args;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use tethercert::lab::faults::Fault;
use tethercert::lab::{Lab, LabOptions};
use tethercert::ledger;
use tethercert::phone::definition::Definitions;
use tethercert::phone::tether::HostKey;
use tethercert::phone::{Finder, Found, PhoneError};
use tethercert::service::ocauth::{Pool, Profile, Settings};
use tethercert::tls::{Resolve, Trust};
use tethercert::usb::{Selector, Usb, UsbIpHost};
use url::{Host, Url};

/// Where `--drivers` is looked for when it is not given.
const DRIVERS: &str = "TETHERCERT_DRIVERS";
/// Where `--ledger` is looked for when it is not given.
const LEDGER: &str = "TETHERCERT_LEDGER";
/// Where `--certprov-url` is looked for when it is not given.
const CERTPROV_URL: &str = "TETHERCERT_CERTPROV_URL";
/// Where `--usbip` is looked for when it is not given.
const USBIP: &str = "TETHERCERT_USBIP";
/// The lab's pool as the screen names it. It resolves nowhere: the embedded lab says where it is.
const LAB_HOST: &str = "web.contoso.example";

/// Where phones are looked for.
#[derive(Args, Debug, Default)]
pub(crate) struct BusArgs {
    /// USB/IP server to look at instead of this computer's USB [env: TETHERCERT_USBIP]
    #[arg(long, help_heading = "Phone", value_name = "HOST:PORT")]
    pub(crate) usbip: Option<UsbIpHost>,
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

/// Where the Web Services are.
#[derive(Args, Debug)]
pub(crate) struct PoolArgs {
    /// Certificate provisioning service of the pool [env: TETHERCERT_CERTPROV_URL]
    ///
    /// Like https://web.contoso.example/CertProv/CertProvisioningService.svc.
    #[arg(long, help_heading = "Pool", value_name = "URL")]
    pub(crate) certprov_url: Option<String>,
    /// File with CA certificates to trust besides the system's (PEM, DER, PKCS#7); may be repeated
    #[arg(long, help_heading = "Pool", value_name = "FILE")]
    pub(crate) trust_anchor: Vec<PathBuf>,
    /// Connect to ADDRESS when HOST and PORT are meant; may be repeated
    #[arg(long, help_heading = "Pool", value_name = "HOST:PORT:ADDRESS")]
    pub(crate) resolve: Vec<ResolveArg>,
    /// Let this host receive credentials though it is outside the user's SIP domain; may be repeated
    #[arg(long, help_heading = "Pool", value_name = "HOST")]
    pub(crate) allow_host: Vec<String>,
    /// File with what is not public about the pool: without one no PIN is sent to it
    #[arg(long, help_heading = "Pool", value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
}

/// `HOST:PORT:ADDRESS`; an address with a port of its own leads there.
#[derive(Debug, Clone)]
pub(crate) struct ResolveArg(Resolve);

impl FromStr for ResolveArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || "write it like web.contoso.example:443:192.0.2.7".to_owned();
        let mut parts = text.splitn(3, ':');
        let (Some(host), Some(port), Some(address)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(error());
        };
        let port: u16 = port.parse().map_err(|_| error())?;
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        let address = match (address.parse::<SocketAddr>(), bare.parse::<IpAddr>()) {
            (Ok(address), _) => address,
            (Err(_), Ok(ip)) => SocketAddr::new(ip, port),
            (Err(_), Err(_)) => return Err(error()),
        };
        if host.is_empty() {
            return Err(error());
        }
        Ok(Self(Resolve { host: host.to_owned(), port, address }))
    }
}

/// A pool that was chosen.
pub(crate) struct ChosenPool {
    pub(crate) pool: Pool,
    /// As the phone will use it.
    pub(crate) url: String,
    /// Whether it is a lab's.
    pub(crate) lab: bool,
}

impl ChosenPool {
    fn new(settings: Settings, lab: bool) -> Result<Self, CliError> {
        let pool = Pool::new(settings)?;
        Ok(Self { url: pool.certprov_url().to_string(), pool, lab })
    }
}

/// What a command works with.
pub(crate) struct Bench {
    pub(crate) finder: Finder,
    /// The embedded lab.
    pub(crate) lab: Option<Lab>,
    /// Whether the phones that are found may be a lab's.
    pub(crate) lab_phones: bool,
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
        Self::open(bus, HostKeyFrom::Nowhere, screen).await
    }

    /// For a command that needs a phone.
    pub(crate) async fn for_a_phone(args: &PhoneArgs, screen: &Screen) -> Result<Self, CliError> {
        if args.bus.lab {
            screen.mark_lab();
            refuse_in_lab(args.host_key.is_some(), "--host-key")?;
            refuse_in_lab(matches!(args.device, Some(Selector::Port(_))), "--device port:…")?;
        }
        Self::open(&args.bus, HostKeyFrom::File(args.host_key.as_ref()), screen).await
    }

    async fn open(bus: &BusArgs, key: HostKeyFrom<'_>, screen: &Screen) -> Result<Self, CliError> {
        if bus.lab {
            screen.mark_lab();
            refuse_in_lab(bus.usbip.is_some(), "--usbip")?;
        }
        let lab = match bus.lab {
            true => {
                let options = LabOptions { faults: bus.fault.clone(), ..LabOptions::default() };
                Some(Lab::start(&options).await.map_err(CliError::Lab)?)
            }
            false => None,
        };
        let definitions = definitions(bus, lab.as_ref())?;
        let (usb, lab_phones) = match &lab {
            Some(lab) => (Usb::usbip(lab.usbip().into()), true),
            None => match usbip_host(bus)? {
                Some(host) => (Usb::usbip(host.clone()), is_loopback(host.host())),
                None => (Usb::system(), false),
            },
        };
        let host_key = match key {
            HostKeyFrom::Nowhere => HostKey::ephemeral(),
            HostKeyFrom::File(_) if lab.is_some() => HostKey::ephemeral(),
            HostKeyFrom::File(Some(path)) => HostKey::load_or_create(path)?,
            HostKeyFrom::File(None) => HostKey::load_or_create(&ledger::default_path()?.with_file_name("host-key"))?,
        };
        let finder =
            Finder { usb, definitions: Arc::new(definitions), host_key: Arc::new(host_key), host_label: host_label() };
        Ok(Self { finder, lab, lab_phones })
    }

    /// The one phone that is meant.
    pub(crate) async fn pick(&self, device: Option<&Selector>) -> Result<Found, CliError> {
        self.finder.pick(device).await.map_err(|error| match error {
            // Which phone is meant has nothing to do with a cable.
            PhoneError::Usb { source, .. } => source.into(),
            other => other.into(),
        })
    }

    /// The pool that is meant, if one is.
    pub(crate) fn pool(&self, args: &PoolArgs) -> Result<Option<ChosenPool>, CliError> {
        if let Some(lab) = &self.lab {
            refuse_in_lab(args.certprov_url.is_some(), "--certprov-url")?;
            refuse_in_lab(!args.trust_anchor.is_empty(), "--trust-anchor")?;
            refuse_in_lab(!args.resolve.is_empty(), "--resolve")?;
            refuse_in_lab(!args.allow_host.is_empty(), "--allow-host")?;
            refuse_in_lab(args.profile.is_some(), "--profile")?;
            return lab_pool(lab).map(Some);
        }
        let Some(url) = args.certprov_url.clone().or_else(configured_pool) else { return Ok(None) };
        let url = Pool::address(&url)?;
        let resolve: Vec<Resolve> = args.resolve.iter().map(|resolve| resolve.0.clone()).collect();
        let lab = is_lab_pool(&url, &resolve);
        let trust = Trust::system_and(&args.trust_anchor)?;
        let mut settings = Settings::new(url, trust);
        settings.resolve = resolve;
        settings.allowed_hosts.clone_from(&args.allow_host);
        // Without a file a PIN goes only where both ends of the wire are a lab's.
        settings.profile = match &args.profile {
            Some(file) => Some(Profile::from_file(file)?),
            None => (lab && self.lab_phones).then(Profile::lab),
        };
        ChosenPool::new(settings, lab).map(Some)
    }
}

/// The lab knows its own phones, and what was named beside it: nothing that this computer is set up for.
fn definitions(bus: &BusArgs, lab: Option<&Lab>) -> Result<Definitions, CliError> {
    let mut folders = bus.drivers.clone();
    if let Some(lab) = lab {
        folders.push(lab.drivers());
        return Ok(Definitions::load(None, &folders)?);
    }
    if folders.is_empty() {
        folders.extend(std::env::var_os(DRIVERS).iter().flat_map(std::env::split_paths));
    }
    Ok(Definitions::load(Definitions::user_folder().as_deref(), &folders)?)
}

fn lab_pool(lab: &Lab) -> Result<ChosenPool, CliError> {
    let url = lab.web().certprov_url(LAB_HOST);
    let address = lab.web().address();
    let mut trust = Trust::only_given();
    trust.add_file(&lab.ready().trust_anchor)?;
    let mut settings = Settings::new(url, trust);
    settings.resolve.push(Resolve { host: LAB_HOST.to_owned(), port: address.port(), address });
    settings.profile = Some(Profile::lab());
    ChosenPool::new(settings, true)
}

/// The pool that this computer is set up for.
pub(crate) fn configured_pool() -> Option<String> {
    std::env::var(CERTPROV_URL).ok().filter(|url| !url.is_empty())
}

/// The USB/IP server that is given, else the one that this computer is set up for.
pub(crate) fn usbip_host(bus: &BusArgs) -> Result<Option<UsbIpHost>, CliError> {
    let set_up = || std::env::var(USBIP).ok().filter(|host| !host.is_empty());
    match (&bus.usbip, set_up()) {
        (Some(host), _) => Ok(Some(host.clone())),
        (None, None) => Ok(None),
        (None, Some(text)) => match text.parse() {
            Ok(host) => Ok(Some(host)),
            Err(error) => {
                Err(CliError::usage(format!("{USBIP} is wrong: {error}"), format!("correct or unset {USBIP}")))
            }
        },
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
fn is_lab_pool(url: &Url, resolve: &[Resolve]) -> bool {
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
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernel.or_else(|| std::env::var("COMPUTERNAME").ok()).or_else(|| std::env::var("HOSTNAME").ok());
    let name: String = name.unwrap_or_default().trim().chars().take(32).collect();
    if name.is_empty() { "tethercert".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_a_lab_only_by_an_address_of_this_computer() {
        let is_lab = |url: &str, led: &[&str]| {
            let led: Vec<Resolve> = led.iter().map(|it| it.parse::<ResolveArg>().unwrap().0).collect();
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

    #[test]
    fn a_name_can_be_led_to_an_address_with_or_without_another_port() {
        let resolve = |text: &str| text.parse::<ResolveArg>().map(|arg| (arg.0.host, arg.0.port, arg.0.address));
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(resolve("web:443:192.0.2.7"), Ok(("web".into(), 443, address("192.0.2.7:443"))));
        assert_eq!(resolve("web:443:127.0.0.1:99"), Ok(("web".into(), 443, address("127.0.0.1:99"))));
        assert_eq!(resolve("web:443:[::1]"), Ok(("web".into(), 443, address("[::1]:443"))));
        for bad in ["web", "web:443", ":443:192.0.2.7", "web:x:192.0.2.7", "web:443:name"] {
            assert!(resolve(bad).is_err(), "{bad}");
        }
    }
}
