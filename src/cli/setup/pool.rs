//! A pool by name, so that a user is all that a job needs to be told.

use crate::cli::ask::Person;
use crate::cli::bench::{PoolOptions, is_lab_pool, warn_of_old_tls};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::job::{Auth, RetryArgs};
use crate::cli::screen::{Screen, Tone};
use crate::cli::settings::{or_environment, pools};
use crate::cli::text::{date, dotted};
use clap::{Args as ClapArgs, ValueEnum as _};
use serde::Serialize;
use std::path::PathBuf;
use tethercert::credential::{Certificate, Fingerprint, ReadError, Thumbprint};
use tethercert::pool::{HostAndPort, NamedPool, PoolFile, PoolName, PoolsError, Replace};
use tethercert::provision::{ProvisionError, Stop};
use tethercert::service::ocauth::{Pool, ServiceError, Settings};
use tethercert::service::{Enrolment as _, Survey};
use tethercert::tls::{TlsError, Trust};
use url::Url;

/// Configure a pool by name, so that `provision --user …` is enough from then on
///
/// Asks at the terminal for what is missing, looks at the pool once without any credential, shows the thumbprints of the
/// roots that it goes by, and writes a file. A root that is not the system's is trusted only from a file, and only when
/// somebody confirmed its thumbprint.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// What the pool is called here, in a-z, 0-9 and -
    name: PoolName,
    #[command(flatten)]
    at: PoolOptions,
    /// SIP domain of users that this pool serves; may be repeated
    #[arg(long, help_heading = "Users", value_name = "DOMAIN")]
    sip_domain: Vec<String>,
    /// How users sign in
    #[arg(long, help_heading = "Users", value_enum)]
    auth: Option<Auth>,
    /// Windows domain of the users: CONTOSO makes the login of alice@contoso.example CONTOSO\alice
    #[arg(long, help_heading = "Users", value_name = "DOMAIN")]
    login_domain: Option<String>,
    /// Further server that phones have to trust; may be repeated
    #[arg(long, help_heading = "Pool", value_name = "HOST:PORT")]
    also_server: Vec<HostAndPort>,
    #[command(flatten)]
    retry: RetryArgs,
    /// Do not look at the pool
    #[arg(long, help_heading = "Decisions")]
    offline: bool,
    /// Write over a pool of the same name
    #[arg(long, help_heading = "Decisions")]
    replace: bool,
    /// Ask nothing; a root that is not the system's takes --root-thumbprint
    #[arg(long, help_heading = "Decisions")]
    yes: bool,
    /// Thumbprint (SHA-1 or SHA-256) of a root that may be trusted, as the administrator says it; may be repeated
    #[arg(long, help_heading = "Decisions", value_name = "HEX")]
    root_thumbprint: Vec<Thumbprint>,
}

#[derive(Serialize)]
struct SetUpLine<'a> {
    name: &'a PoolName,
    file: &'a PathBuf,
    certprov_url: &'a str,
    trust_anchors: Vec<Prints>,
    server_root: Option<Prints>,
    sign_in_ports: &'a [String],
    looked_at: bool,
    next: &'a str,
}

#[derive(Serialize)]
struct Prints {
    sha256: Fingerprint,
    sha1: Thumbprint,
}

pub(crate) async fn run(mut args: Args, screen: &Screen) -> Result<Exit, CliError> {
    args.at = or_environment(args.at)?;
    let pools = pools()?;
    // Nothing is under way that a signal must not end.
    let stop = Stop::default();
    let person = Person::at(screen, &stop).filter(|_| !args.yes);
    let replace = may_replace(&args, pools.path(&args.name).exists(), person.as_ref()).await?;
    let file = file(&args, person.as_ref()).await?;
    file.check().map_err(|(key, problem)| CliError::usage(format!("{key} cannot be used"), problem))?;
    let url = Pool::address(&file.certprov_url)?;
    if is_lab_pool(&url, &file.resolve) {
        screen.mark_lab();
    }
    warn_of_old_tls(file.tls.unwrap_or_default(), args.name.as_str(), "--tls", screen);

    let (anchors, mut trust) = anchors(&args.at.trust_anchor)?;
    let system = Trust::system_and(&[]).unwrap_or_else(|_| Trust::only_given());
    let is_systems = |certificate: &Certificate| system.anchors().iter().any(|it| it.as_ref() == certificate.der());
    for root in system.anchors() {
        // What the system has and cannot be used is passed over, as ever.
        let _ = trust.add_der("the system", root);
    }
    for certificate in &anchors {
        show(certificate, if certificate.is_self_signed() { "root" } else { "CA" }, screen);
    }
    let survey = match args.offline {
        true => None,
        false => Some(look_at(&url, &file, trust, screen).await?),
    };
    let server_root = survey.as_ref().and_then(|survey| Certificate::from_der(survey.completed.last()?).ok());
    if let (Some(survey), Some(root)) = (&survey, &server_root) {
        let whose = if is_systems(root) { "trusted by this system" } else { "from the file given" };
        screen.line("pool", &dotted(&[survey.host.as_str(), "answers", &survey.sign_in_ports.join(", ")]));
        screen.line("", &format!("its chain ends at {}, {whose}", root.label()));
        if is_systems(root) {
            show(root, "", screen);
        }
    }
    for root in anchors.iter().filter(|it| it.is_self_signed() && !is_systems(it)) {
        confirm(root, &args, person.as_ref()).await?;
    }

    let saved = pools.save(&args.name, file, &anchors, replace)?;
    let next = next(&saved);
    screen.toned(Tone::Good, "done", &format!("pool {} is in {}", saved.name, saved.path.display()));
    if args.offline {
        screen.line("", "nobody has looked at it yet");
    }
    screen.line("next", &next);
    let prints = |certificate: &Certificate| Prints {
        sha256: certificate.fingerprint(),
        sha1: Thumbprint::sha1_of(certificate.der()),
    };
    let line = SetUpLine {
        name: &saved.name,
        file: &saved.path,
        certprov_url: &saved.file.certprov_url,
        trust_anchors: saved.anchors.iter().map(prints).collect(),
        server_root: server_root.as_ref().map(prints),
        sign_in_ports: survey.as_ref().map(|survey| survey.sign_in_ports.as_slice()).unwrap_or_default(),
        looked_at: survey.is_some(),
        next: &next,
    };
    screen.json("pool_set_up", &line);
    Ok(Exit::Done)
}

async fn may_replace(args: &Args, exists: bool, person: Option<&Person<'_>>) -> Result<Replace, CliError> {
    let exists_already = || CliError::from(PoolsError::Exists { name: args.name.clone() });
    match (args.replace, exists, person) {
        (true, ..) => Ok(Replace::Yes),
        (false, false, _) => Ok(Replace::Never),
        (false, true, Some(person)) => {
            match person.agrees(&format!("a pool is called {} already: write it anew?", args.name)).await? {
                true => Ok(Replace::Yes),
                false => Err(exists_already()),
            }
        }
        (false, true, None) => Err(exists_already()),
    }
}

/// What the options say; at a terminal the rest is asked for.
async fn file(args: &Args, person: Option<&Person<'_>>) -> Result<PoolFile, CliError> {
    let address = match (&args.at.certprov_url, person) {
        (Some(address), _) => address.clone(),
        (None, Some(person)) => {
            person.text("address of the certificate provisioning service (https://…):", None).await?
        }
        (None, None) => {
            return Err(CliError::usage(
                "the pool's address is missing",
                "give it: --certprov-url https://web.contoso.example/CertProv/CertProvisioningService.svc",
            ));
        }
    };
    let url = Pool::address(&address)?;
    let mut file = PoolFile::new(url.as_str());
    file.sip_domains = args.sip_domain.iter().map(|domain| domain.to_lowercase()).collect();
    file.registrar.clone_from(&args.at.registrar);
    file.login_domain.clone_from(&args.login_domain);
    file.tls = args.at.tls;
    file.proxy.clone_from(&args.at.proxy);
    file.resolve.clone_from(&args.at.resolve);
    file.allow_hosts.clone_from(&args.at.allow_host);
    file.also_servers.clone_from(&args.also_server);
    file.auth = args.auth.and_then(|auth| Some(auth.to_possible_value()?.get_name().to_owned()));
    file.profile = args
        .at
        .profile
        .as_ref()
        .map(std::path::absolute)
        .transpose()
        .map_err(|source| PoolsError::Unreadable { path: args.at.profile.clone().unwrap_or_default(), source })?;
    file.publish_tries = args.retry.publish_tries;
    file.publish_wait_seconds = args.retry.publish_wait;
    let Some(person) = person else { return Ok(file) };
    if file.sip_domains.is_empty() {
        let domains = person.text("SIP domains of its users:", Some(&domain_of(&url))).await?;
        file.sip_domains = domains.split([',', ' ']).filter(|it| !it.is_empty()).map(str::to_lowercase).collect();
    }
    if file.registrar.is_none() {
        file.registrar = person.optional("registrar that phones go by, like sip.contoso.example:5061:").await?;
    }
    if file.login_domain.is_none() {
        file.login_domain = person.optional("Windows domain of the users, like CONTOSO:").await?;
    }
    Ok(file)
}

/// A guess: the Web Services are mostly called `web` or so in their users' domain.
fn domain_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match host.split_once('.') {
        Some((_, domain)) if domain.contains('.') && url.domain().is_some() => domain.to_owned(),
        Some(_) | None => host.to_owned(),
    }
}

/// The certificates of the files, and a trust that has nothing else.
fn anchors(files: &[PathBuf]) -> Result<(Vec<Certificate>, Trust), CliError> {
    let mut trust = Trust::only_given();
    files.iter().try_for_each(|file| trust.add_file(file))?;
    let unusable = |error: ReadError| {
        let next = "give the CA's certificate as exported from the server or from the enterprise CA";
        CliError::usage(format!("a certificate given with --trust-anchor cannot be used: {error}"), next)
    };
    let ders = trust.anchors().iter().chain(trust.intermediates());
    let mut certificates =
        ders.map(|der| Certificate::from_der(der).map_err(unusable)).collect::<Result<Vec<_>, _>>()?;
    certificates.sort_by_key(Certificate::fingerprint);
    certificates.dedup_by_key(|certificate| certificate.fingerprint());
    Ok((certificates, trust))
}

/// A certificate with what it is compared by.
pub(crate) fn show(certificate: &Certificate, label: &str, screen: &Screen) {
    if !label.is_empty() {
        let until = format!("until {}", date(certificate.not_after()));
        screen.line(label, &dotted(&[certificate.label(), until]));
    }
    screen.line("SHA-1", &Thumbprint::sha1_of(certificate.der()).to_string());
    screen.line("SHA-256", &certificate.fingerprint().to_string());
}

/// Without a credential: two requests that anybody may make.
async fn look_at(url: &Url, file: &PoolFile, trust: Trust, screen: &Screen) -> Result<Survey, CliError> {
    let mut settings = Settings::new(url.as_str(), trust);
    settings.resolve.clone_from(&file.resolve);
    settings.engine = file.tls.unwrap_or_default();
    settings.proxy = file.proxy.clone().unwrap_or_default();
    let pool = Pool::new(settings)?;
    screen.start_spinner(format!("looking at {}", pool.host()));
    let survey = pool.enrolment().survey().await;
    screen.stop_spinner();
    survey.map_err(|error| {
        if let ServiceError::Connection(TlsError::Untrusted { presented, .. }) = &error {
            // For comparing with what the administrator says; trusted it is only from a file.
            for certificate in presented.iter().filter_map(|der| Certificate::from_der(der).ok()) {
                show(&certificate, "sent", screen);
            }
        }
        screen.note("nothing was written; --offline writes it without looking at the pool");
        ProvisionError::from(error).into()
    })
}

/// A root becomes trusted by a person who compared it, or by the thumbprint that the administrator gave.
async fn confirm(root: &Certificate, args: &Args, person: Option<&Person<'_>>) -> Result<(), CliError> {
    if args.root_thumbprint.iter().any(|given| given.is_of(root)) {
        return Ok(());
    }
    if !args.root_thumbprint.is_empty() {
        return Err(CliError::refused(
            format!(
                "the root {} has another thumbprint than the one given: SHA-256 {}",
                root.label(),
                root.fingerprint()
            ),
            "compare the file with the administrator's; a file on its way may have been exchanged",
        ));
    }
    let question =
        format!("trust {} for this pool? compare its thumbprint with the administrator's first:", root.label());
    match person {
        Some(person) if person.agrees(&question).await? => Ok(()),
        Some(_) => Err(CliError::refused(
            format!("the root {} was not confirmed, and nothing was written", root.label()),
            "ask the administrator for the root's thumbprint and repeat",
        )),
        None => Err(CliError::NeedsPerson {
            message: format!(
                "the root {} is not the system's, and nobody is here to compare its thumbprint",
                root.label()
            ),
            next: "give the thumbprint that the administrator says: --root-thumbprint HEX".to_owned(),
        }),
    }
}

fn next(saved: &NamedPool) -> String {
    match saved.file.sip_domains.first() {
        Some(domain) => format!("tethercert provision --user alice@{domain}"),
        None => format!("tethercert provision --pool {} --user alice@contoso.example", saved.name),
    }
}
