//! What reaches a pool, put together from options, environment and the pool's file, each value with its origin.

use super::bench::{PoolArgs, PoolOptions, refuse_in_lab};
use super::error::CliError;
use super::screen::{Screen, Tone};
use super::text::count;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use tethercert::credential::{SipAddress, Thumbprint};
use tethercert::pool::{Choice, HostAndPort, NamedPool, Origin, PoolName, Pools, Setting, choose};
use tethercert::service::ocauth::Pool;
use tethercert::tls::{Engine, Proxy, Resolve, Trust};
use url::Url;

/// Where the folder of this program's files is looked for.
const CONFIG: &str = "TETHERCERT_CONFIG";
/// Where `--pool` is looked for when it is not given.
const POOL: &str = "TETHERCERT_POOL";
/// Where `--certprov-url` is looked for when it is not given.
pub(crate) const CERTPROV_URL: &str = "TETHERCERT_CERTPROV_URL";
/// Where `--registrar` is looked for when it is not given.
const REGISTRAR: &str = "TETHERCERT_REGISTRAR";
/// Where `--trust-anchor` is looked for when it is not given: one file or several, as in PATH.
const TRUST_ANCHOR: &str = "TETHERCERT_TRUST_ANCHOR";
/// Where `--tls` is looked for when it is not given.
const TLS: &str = "TETHERCERT_TLS";
/// Where `--proxy` is looked for when it is not given.
const PROXY: &str = "TETHERCERT_PROXY";

/// For whom a pool is looked for, and how they sign in, as far as the command line says it.
#[derive(Default)]
pub(crate) struct Who {
    pub(crate) user: Option<Setting<SipAddress>>,
    pub(crate) auth: Option<Setting<String>>,
    pub(crate) login: Option<Setting<String>>,
    pub(crate) publish_tries: Option<Setting<u32>>,
    pub(crate) publish_wait_seconds: Option<Setting<u64>>,
    /// The pool's address, when a person was asked for it, or when it is what the command is about.
    pub(crate) certprov_url: Option<Setting<String>>,
    /// The registrar, when it was found by discovery.
    pub(crate) registrar: Option<Setting<HostAndPort>>,
}

/// Whom this computer trusts besides the system's anchors.
pub(crate) enum Anchors {
    Files(Vec<PathBuf>),
    OfPool(Box<NamedPool>),
    Lab,
}

/// Everything about a pool that may come from several places.
pub(crate) struct PoolSettings {
    /// The configured pool, if one was chosen.
    pub(crate) choice: Option<Choice>,
    pub(crate) certprov_url: Option<Setting<Url>>,
    pub(crate) registrar: Option<Setting<HostAndPort>>,
    pub(crate) anchors: Setting<Anchors>,
    pub(crate) engine: Setting<Engine>,
    pub(crate) proxy: Setting<Proxy>,
    pub(crate) allow_hosts: Setting<Vec<String>>,
    pub(crate) resolve: Setting<Vec<Resolve>>,
    pub(crate) also_servers: Setting<Vec<HostAndPort>>,
    /// Only ever said on the command line.
    pub(crate) root_thumbprint: Option<Thumbprint>,
    /// Likewise.
    pub(crate) root_chains_url: Option<Url>,
    pub(crate) user: Option<Setting<SipAddress>>,
    pub(crate) auth: Setting<String>,
    /// `CONTOSO\alice` where the pool's file says the domain, else the SIP address; nobody where there is no user.
    pub(crate) login: Option<Setting<String>>,
    pub(crate) profile: Option<Setting<PathBuf>>,
    pub(crate) publish_tries: Option<Setting<u32>>,
    pub(crate) publish_wait_seconds: Option<Setting<u64>>,
}

/// The folder of configured pools.
pub(crate) fn pools() -> Result<Pools, CliError> {
    match config_folder() {
        Some(folder) => Ok(Pools::at(folder.join("pools"))),
        None => Ok(Pools::of_this_user()?),
    }
}

/// The folder that the environment names for this program's files.
pub(crate) fn config_folder() -> Option<PathBuf> {
    std::env::var_os(CONFIG).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// What a variable of the environment says, if it says anything.
pub(crate) fn of_environment<T: FromStr<Err: Display>>(name: &'static str) -> Result<Option<Setting<T>>, CliError> {
    let Some(text) = std::env::var(name).ok().filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse() {
        Ok(value) => Ok(Some(Setting::new(value, Origin::Environment(name)))),
        Err(error) => Err(CliError::usage(format!("{name} is wrong: {error}"), format!("correct or unset {name}"))),
    }
}

/// The address of a pool that the environment names.
pub(crate) fn address_of_environment() -> Option<Setting<String>> {
    let text = std::env::var(CERTPROV_URL).ok().filter(|text| !text.is_empty())?;
    Some(Setting::new(text, Origin::Environment(CERTPROV_URL)))
}

/// The options, each with what the environment says where it was not given.
pub(crate) fn or_environment(mut at: PoolOptions) -> Result<PoolOptions, CliError> {
    at.certprov_url = at.certprov_url.or_else(|| Some(address_of_environment()?.value));
    at.registrar = at.registrar.or(of_environment(REGISTRAR)?.map(|it| it.value));
    at.tls = at.tls.or(of_environment(TLS)?.map(|it| it.value));
    at.proxy = at.proxy.or(of_environment(PROXY)?.map(|it| it.value));
    if at.trust_anchor.is_empty() {
        at.trust_anchor = anchors_of_environment().map(|it| it.value).unwrap_or_default();
    }
    Ok(at)
}

impl PoolSettings {
    /// What is said about the pool that is meant. Nothing is connected to.
    pub(crate) fn of(args: &PoolArgs, who: Who) -> Result<Self, CliError> {
        let at = &args.at;
        let given = Setting::of_option("--certprov-url", at.certprov_url.clone()).or(who.certprov_url);
        let by_hand = given.is_some();
        let address = given.or_else(address_of_environment);
        let named: Option<Setting<PoolName>> = match Setting::of_option("--pool", args.pool.clone()) {
            // What was typed is stronger than what the environment names, as a whole.
            None if by_hand => None,
            None => of_environment(POOL)?,
            typed => typed,
        };
        let domain = who.user.as_ref().map(|user| user.value.domain());
        let choice = choose(&pools()?, named, domain, address.is_some())?;
        let pool = choice.as_ref().map(|choice| &choice.pool);
        // A pool that was named by an option is not led elsewhere by the environment.
        let address = match address {
            Some(Setting { origin: Origin::Environment(_), .. }) if args.pool.is_some() => None,
            address => address,
        };
        let address =
            address.or_else(|| pool.and_then(|it| it.setting("certprov_url", Some(it.file.certprov_url.clone()))));
        let certprov_url = match address {
            Some(address) => Some(Setting::new(Pool::address(&address.value)?, address.origin)),
            None => None,
        };
        let file = pool.map(|pool| (pool, &pool.file));
        let anchors = Setting::of_options("--trust-anchor", at.trust_anchor.clone())
            .or_else(anchors_of_environment)
            .map(|files| files.map(Anchors::Files))
            .or_else(|| {
                let pool = pool.filter(|pool| !pool.anchors.is_empty())?;
                pool.setting("trust_anchors", Some(Anchors::OfPool(Box::new(pool.clone()))))
            });
        let login = who.login.or_else(|| Some(login_of(&who.user.as_ref()?.value, pool)));
        Ok(Self {
            root_thumbprint: args.root_thumbprint,
            root_chains_url: args.root_chains_url.clone(),
            certprov_url,
            registrar: Setting::of_option("--registrar", at.registrar.clone())
                .or(of_environment(REGISTRAR)?)
                .or_else(|| file.and_then(|(pool, file)| pool.setting("registrar", file.registrar.clone())))
                .or(who.registrar),
            anchors: anchors.unwrap_or_else(|| Setting::default_of(Anchors::Files(Vec::new()))),
            engine: Setting::of_option("--tls", at.tls)
                .or(of_environment(TLS)?)
                .or_else(|| file.and_then(|(pool, file)| pool.setting("tls", file.tls)))
                .unwrap_or_else(|| Setting::default_of(Engine::default())),
            proxy: Setting::of_option("--proxy", at.proxy.clone())
                .or(of_environment(PROXY)?)
                .or_else(|| file.and_then(|(pool, file)| pool.setting("proxy", file.proxy.clone())))
                .unwrap_or_else(|| Setting::default_of(Proxy::default())),
            allow_hosts: Setting::of_options("--allow-host", at.allow_host.clone())
                .or_else(|| file.and_then(|(pool, file)| pool.list("allow_hosts", &file.allow_hosts)))
                .unwrap_or_else(|| Setting::default_of(Vec::new())),
            resolve: Setting::of_options("--resolve", at.resolve.clone())
                .or_else(|| file.and_then(|(pool, file)| pool.list("resolve", &file.resolve)))
                .unwrap_or_else(|| Setting::default_of(Vec::new())),
            also_servers: Setting::of_options("--also-server", args.also_server.clone())
                .or_else(|| file.and_then(|(pool, file)| pool.list("also_servers", &file.also_servers)))
                .unwrap_or_else(|| Setting::default_of(Vec::new())),
            auth: who
                .auth
                .or_else(|| file.and_then(|(pool, file)| pool.setting("auth", file.auth.clone())))
                .unwrap_or_else(|| Setting::default_of("ntlm".to_owned())),
            login,
            user: who.user,
            profile: Setting::of_option("--profile", at.profile.clone())
                .or_else(|| pool.and_then(|pool| pool.setting("profile", pool.profile()))),
            publish_tries: who
                .publish_tries
                .or_else(|| file.and_then(|(pool, file)| pool.setting("publish_tries", file.publish_tries))),
            publish_wait_seconds: who.publish_wait_seconds.or_else(|| {
                file.and_then(|(pool, file)| pool.setting("publish_wait_seconds", file.publish_wait_seconds))
            }),
            choice,
        })
    }

    /// The same for the embedded lab, a world of its own: neither environment nor files reach into it.
    pub(crate) fn in_lab(args: &PoolArgs, who: Who, url: Url) -> Result<Self, CliError> {
        let at = &args.at;
        refuse_in_lab(args.pool.is_some(), "--pool")?;
        refuse_in_lab(at.certprov_url.is_some(), "--certprov-url")?;
        refuse_in_lab(!at.trust_anchor.is_empty(), "--trust-anchor")?;
        refuse_in_lab(!at.resolve.is_empty(), "--resolve")?;
        refuse_in_lab(!at.allow_host.is_empty(), "--allow-host")?;
        refuse_in_lab(at.proxy.is_some(), "--proxy")?;
        refuse_in_lab(at.profile.is_some(), "--profile")?;
        Ok(Self {
            root_thumbprint: args.root_thumbprint,
            root_chains_url: args.root_chains_url.clone(),
            choice: None,
            certprov_url: Some(Setting::new(url, Origin::Lab)),
            registrar: Setting::of_option("--registrar", at.registrar.clone()),
            anchors: Setting::new(Anchors::Lab, Origin::Lab),
            engine: Setting::of_option("--tls", at.tls).unwrap_or_else(|| Setting::default_of(Engine::default())),
            proxy: Setting::new(Proxy::Straight, Origin::Lab),
            allow_hosts: Setting::default_of(Vec::new()),
            resolve: Setting::default_of(Vec::new()),
            also_servers: Setting::of_options("--also-server", args.also_server.clone())
                .unwrap_or_else(|| Setting::default_of(Vec::new())),
            auth: who.auth.unwrap_or_else(|| Setting::default_of("ntlm".to_owned())),
            login: who.login,
            user: who.user,
            profile: None,
            publish_tries: who.publish_tries,
            publish_wait_seconds: who.publish_wait_seconds,
        })
    }

    /// What the pool is called: its configured name, else its host.
    pub(crate) fn name(&self) -> String {
        match (&self.choice, &self.certprov_url) {
            (Some(choice), _) => choice.pool.name.to_string(),
            (None, Some(url)) => url.value.host_str().unwrap_or_default().to_owned(),
            (None, None) => "none".to_owned(),
        }
    }

    /// Another user's Windows account at this pool.
    pub(crate) fn login_of(&self, user: &SipAddress) -> String {
        login_of(user, self.choice.as_ref().map(|choice| &choice.pool)).value
    }

    /// Whom this computer trusts.
    pub(crate) fn trust(&self) -> Result<Trust, CliError> {
        match &self.anchors.value {
            Anchors::Files(files) => Ok(Trust::system_and(files)?),
            Anchors::OfPool(pool) => {
                // Without a system's store the pool's own anchors are enough.
                let mut trust = Trust::system_and(&[]).unwrap_or_else(|_| Trust::only_given());
                pool.add_to(&mut trust)?;
                Ok(trust)
            }
            Anchors::Lab => Ok(Trust::only_given()),
        }
    }

    /// Says where every value came from: a card for people, one event for scripts. No secret is among them.
    pub(crate) fn explain(&self, screen: &Screen) {
        let rows = self.rows();
        screen.json("settings", &SettingsLine { settings: &rows });
        for row in &rows {
            let value = match &row.value {
                Value::Null => "none".to_owned(),
                Value::String(text) => text.clone(),
                Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
                other => other.to_string(),
            };
            let text = format!("{value} ({})", row.from);
            screen.columns(Tone::Plain, &format!("{:21}", row.key), &text);
        }
        screen.blank();
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = match (&self.choice, &self.certprov_url) {
            (Some(Choice { pool, why }), _) => vec![
                Row { key: "pool", value: pool.name.as_str().into(), origin: why.word(), from: why.to_string() },
                Row { key: "file", value: path(&pool.path), origin: "file", from: "of this pool".to_owned() },
            ],
            (None, Some(Setting { origin: Origin::Lab, .. })) => {
                vec![Row { key: "pool", value: Value::Null, origin: "lab", from: "the lab".to_owned() }]
            }
            (None, _) => {
                let from = "no configured pool is used".to_owned();
                vec![Row { key: "pool", value: Value::Null, origin: "default", from }]
            }
        };
        let file = self.choice.as_ref().map(|choice| &choice.pool.file);
        let anchors_in_file = file.map_or(0, |file| file.trust_anchors.len());
        rows.extend([
            Row::of("certprov_url", self.certprov_url.as_ref()),
            Row::of("registrar", self.registrar.as_ref()),
            Row::list("trust_anchors", self.anchor_texts(), &self.anchors.origin, anchors_in_file),
            Row::of("tls", Some(&self.engine)),
            Row::of("proxy", Some(&self.proxy)),
            Row::of_list("allow_hosts", &self.allow_hosts, file.map_or(0, |file| file.allow_hosts.len())),
            Row::of_list("resolve", &self.resolve, file.map_or(0, |file| file.resolve.len())),
            Row::of_list("also_servers", &self.also_servers, file.map_or(0, |file| file.also_servers.len())),
            Row::of("user", self.user.as_ref()),
            Row::of("auth", Some(&self.auth)),
            Row::of("login", self.login.as_ref()),
            Row::of("profile", self.profile.clone().map(|it| it.map(|path| path.display().to_string())).as_ref()),
            Row::of("publish_tries", self.publish_tries.as_ref()),
            Row::of("publish_wait_seconds", self.publish_wait_seconds.as_ref()),
        ]);
        rows
    }

    fn anchor_texts(&self) -> Vec<String> {
        match &self.anchors.value {
            Anchors::Files(files) => {
                let system = "the system's".to_owned();
                std::iter::once(system).chain(files.iter().map(|file| file.display().to_string())).collect()
            }
            Anchors::OfPool(pool) => {
                let system = "the system's".to_owned();
                let own = pool
                    .anchors
                    .iter()
                    .map(|certificate| format!("{} {}", certificate.label(), certificate.fingerprint().short()));
                std::iter::once(system).chain(own).collect()
            }
            Anchors::Lab => vec!["the lab's root".to_owned()],
        }
    }
}

/// A user's Windows account, as the pool's file makes it of the user.
fn login_of(user: &SipAddress, pool: Option<&NamedPool>) -> Setting<String> {
    let domain = pool.and_then(|pool| pool.setting("login_domain", pool.file.login_domain.clone()));
    let local = user.as_str().split('@').next().unwrap_or_default();
    match domain {
        Some(domain) => domain.map(|domain| format!("{domain}\\{local}")),
        None => Setting::default_of(user.to_string()),
    }
}

fn anchors_of_environment() -> Option<Setting<Vec<PathBuf>>> {
    let files = std::env::var_os(TRUST_ANCHOR).filter(|files| !files.is_empty())?;
    Some(Setting::new(std::env::split_paths(&files).collect(), Origin::Environment(TRUST_ANCHOR)))
}

#[derive(Serialize)]
struct SettingsLine<'a> {
    settings: &'a [Row],
}

/// One line of what `--explain` says.
#[derive(Serialize)]
struct Row {
    key: &'static str,
    value: Value,
    /// `option`, `environment`, `file`, `default` …
    origin: &'static str,
    /// Which option, variable or key.
    from: String,
}

impl Row {
    fn of<T: Display>(key: &'static str, setting: Option<&Setting<T>>) -> Self {
        let (value, origin) = match setting {
            Some(setting) => (setting.value.to_string().into(), &setting.origin),
            None => (Value::Null, &Origin::Default),
        };
        Self { key, value, origin: origin.word(), from: origin.to_string() }
    }

    fn of_list<T: Display>(key: &'static str, list: &Setting<Vec<T>>, in_file: usize) -> Self {
        Self::list(key, list.value.iter().map(ToString::to_string).collect(), &list.origin, in_file)
    }

    /// A list takes the place of the file's as a whole: what it pushes out is said.
    fn list(key: &'static str, values: Vec<String>, origin: &Origin, in_file: usize) -> Self {
        let value = if values.is_empty() { Value::Null } else { values.into() };
        let from = match origin {
            Origin::Option(_) | Origin::Environment(_) if in_file > 0 => {
                format!("{origin}, in place of {} in the pool's file", count(in_file, "value"))
            }
            _ => origin.to_string(),
        };
        Self { key, value, origin: origin.word(), from }
    }
}

fn path(path: &std::path::Path) -> Value {
    path.display().to_string().into()
}
