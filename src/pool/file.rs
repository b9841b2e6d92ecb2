//! A pool's file: its keys, and the line that is wrong.

use super::words::{is_host, without_password};
use super::{Anchor, HostAndPort, PoolsError};
use crate::service::ocauth::Pool;
use crate::tls::{Engine, Proxy, Resolve};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a pool's file says. A key that is not there is left to the environment and the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolFile {
    /// The certificate provisioning service, https, without user and password.
    pub certprov_url: String,
    /// The registrar that phones go by afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registrar: Option<HostAndPort>,
    /// The SIP domains of the users that this pool serves: they choose the pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sip_domains: Vec<String>,
    /// The TLS implementation that reaches it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Engine>,
    /// The way to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// Further hosts that may receive credentials though they are outside the user's SIP domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_hosts: Vec<String>,
    /// Where names lead that DNS does not know, or knows otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolve: Vec<Resolve>,
    /// Further servers that phones have to trust.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_servers: Vec<HostAndPort>,
    /// How users sign in, as `--auth` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,
    /// The Windows domain of the users: `CONTOSO` makes the login of alice@contoso.example `CONTOSO\alice`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_domain: Option<String>,
    /// File with the names of messages that are not public, as `--profile` takes it; from the pool's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<PathBuf>,
    /// How often publishing is tried while the data store is unavailable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_tries: Option<u32>,
    /// How long to wait between two tries, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_wait_seconds: Option<u64>,
    /// Certificates to trust besides the system's, with their thumbprints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trust_anchors: Vec<Anchor>,
}

/// Parts of a key's name that a secret would have.
const SECRET: [&str; 9] =
    ["password", "passwd", "passphrase", "secret", "pin", "token", "credential", "private", "api_key"];

impl PoolFile {
    /// A pool at `certprov_url`, and nothing else.
    pub fn new(certprov_url: impl Into<String>) -> Self {
        Self {
            certprov_url: certprov_url.into(),
            registrar: None,
            sip_domains: Vec::new(),
            tls: None,
            proxy: None,
            allow_hosts: Vec::new(),
            resolve: Vec::new(),
            also_servers: Vec::new(),
            auth: None,
            login_domain: None,
            profile: None,
            publish_tries: None,
            publish_wait_seconds: None,
            trust_anchors: Vec::new(),
        }
    }

    /// Reads the file called `path`, which holds `text`. An error never repeats a value.
    pub fn parse(path: &Path, text: &str) -> Result<Self, PoolsError> {
        let invalid = |line, problem: String| PoolsError::Invalid { path: path.to_owned(), line, problem };
        let line_at = |offset: usize| 1 + text.get(..offset).unwrap_or_default().matches('\n').count();
        let read: Result<Self, toml::de::Error> = toml::from_str(text);
        let file = read.map_err(|error| {
            if let Some(key) = secret_key(text) {
                let line = line_of(text, &key);
                return PoolsError::Secret { path: path.to_owned(), line, key };
            }
            invalid(error.span().map_or(1, |span| line_at(span.start)), words(error.message()))
        })?;
        file.check().map_err(|(key, problem)| invalid(line_of(text, key), format!("`{key}`: {problem}")))?;
        Ok(file)
    }

    /// The key whose value cannot be used, and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        Pool::address(&self.certprov_url).map_err(|error| ("certprov_url", error.next_step().to_owned()))?;
        for (key, hosts) in [("sip_domains", &self.sip_domains), ("allow_hosts", &self.allow_hosts)] {
            if !hosts.iter().all(|host| is_host(host)) {
                return Err((key, "write names like contoso.example".to_owned()));
            }
        }
        if let Some(proxy) = self.proxy.clone() {
            without_password(proxy).map_err(|error| ("proxy", error.to_string()))?;
        }
        if self.login_domain.as_deref().is_some_and(|domain| !is_host(domain)) {
            return Err(("login_domain", "write it like CONTOSO".to_owned()));
        }
        if self.auth.as_deref().is_some_and(|auth| !is_host(auth)) {
            return Err(("auth", "write it like ntlm".to_owned()));
        }
        if self.publish_tries.is_some_and(|tries| !(1..=100).contains(&tries)) {
            return Err(("publish_tries", "write a number from 1 to 100".to_owned()));
        }
        if self.publish_wait_seconds.is_some_and(|seconds| seconds > 3600) {
            return Err(("publish_wait_seconds", "write a number of seconds up to 3600".to_owned()));
        }
        Ok(())
    }

    /// Whether its users' domains are said, and this is one of them.
    pub fn serves(&self, domain: &str) -> bool {
        self.sip_domains.iter().any(|served| served.eq_ignore_ascii_case(domain))
    }

    /// As it stands in a file.
    pub(super) fn text(&self, name: &super::PoolName) -> String {
        let keys = toml::to_string(self).expect("text, numbers and lists only");
        format!(
            "# How tethercert reaches the pool {name}. Written by `tethercert setup pool`; every key is in docs/operations.md.\n\
             # No secret belongs here: this file may be read by everybody.\n\n{keys}"
        )
    }
}

/// toml's words without the value that it quotes: it may be a secret in the wrong place.
fn words(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    match line.split_once(": ") {
        Some((_, rest)) if line.starts_with("invalid type") || line.starts_with("invalid value") => {
            let expected = rest.rsplit_once("expected ").map(|(_, expected)| format!("expected {expected}"));
            expected.unwrap_or_else(|| "the value is of the wrong kind".to_owned())
        }
        Some(_) | None => line.to_owned(),
    }
}

/// A key that has the name of a secret, if the text is a table at all.
fn secret_key(text: &str) -> Option<String> {
    fn search(table: &toml::Table) -> Option<String> {
        table.iter().find_map(|(key, value)| {
            let lower = key.to_lowercase();
            if SECRET.iter().any(|part| lower.contains(part)) {
                return Some(key.clone());
            }
            match value {
                toml::Value::Table(inside) => search(inside),
                toml::Value::Array(list) => list.iter().filter_map(toml::Value::as_table).find_map(search),
                _ => None,
            }
        })
    }
    search(&text.parse().ok()?)
}

/// The line, from 1, that a key begins.
fn line_of(text: &str, key: &str) -> usize {
    let begins = |line: &str| line.trim_start().trim_start_matches(['[', '"', '\'']).starts_with(key);
    text.lines().position(begins).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const URL: &str = "certprov_url = \"https://web.contoso.example/CertProv/CertProvisioningService.svc\"\n";

    fn parse(more: &str) -> Result<PoolFile, PoolsError> {
        PoolFile::parse(Path::new("contoso.toml"), &format!("{URL}{more}"))
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all = "registrar = \"sip.contoso.example:5061\"\nsip_domains = [\"contoso.example\"]\ntls = \"legacy\"\n\
            proxy = \"http://proxy:8080\"\nallow_hosts = [\"pool.hoster.example\"]\nresolve = [\"web:443:192.0.2.7\"]\n\
            also_servers = [\"edge.contoso.example:443\"]\nauth = \"ntlm\"\nlogin_domain = \"CONTOSO\"\n\
            profile = \"pin.toml\"\npublish_tries = 3\npublish_wait_seconds = 5\n\
            [[trust_anchors]]\nfile = \"contoso/a.pem\"\n\
            sha256 = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n\
            sha1 = \"a9993e364706816aba3e25717850c26c9cd0d89d\"\n";
        let file = parse(all).unwrap();
        assert_eq!((file.tls, file.publish_tries, file.trust_anchors.len()), (Some(Engine::Legacy), Some(3), 1));
        let text = file.text(&"contoso".parse().unwrap());
        assert_eq!(PoolFile::parse(Path::new("contoso.toml"), &text).unwrap(), file);
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_and_key() {
        for (more, line, word) in [
            ("\nregistar = \"sip:5061\"", 3, "registar"),
            ("registrar = \"sip\"", 2, "sip.contoso.example:5061"),
            ("tls = \"ancient\"", 2, "modern or legacy"),
            ("\n\npublish_tries = 0", 4, "1 to 100"),
            ("publish_tries = \"x\"", 2, "expected"),
            ("sip_domains = [\"a b\"]", 2, "contoso.example"),
            ("certprov_url = \"https://web\"", 2, "duplicate"),
        ] {
            let error = parse(more).unwrap_err();
            assert!(matches!(error, PoolsError::Invalid { line: at, .. } if at == line), "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
        assert!(PoolFile::parse(Path::new("x.toml"), "").unwrap_err().to_string().contains("certprov_url"));
    }

    #[test]
    fn a_secret_is_refused_and_not_repeated() {
        for line in
            ["password = \"s3cret\"", "[user]\nPIN = \"s3cret\"", "auth = \"ntlm\"\nproxy_password = \"s3cret\""]
        {
            let error = parse(line).unwrap_err();
            assert!(matches!(error, PoolsError::Secret { .. }), "{error}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
        for line in [
            "proxy = \"http://alice:s3cret@proxy:8080\"",
            "proxy = \"ftp://alice:s3cret@proxy\"",
            "publish_tries = \"s3cret\"",
            "sip_domains = \"s3cret\"",
            "registrar = \"alice:s3cret@sip:x\"",
        ] {
            let error = parse(line).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
        let error = PoolFile::parse(Path::new("x.toml"), "certprov_url = \"https://alice:s3cret@web/x\"").unwrap_err();
        assert!(!format!("{error:?}").contains("s3cret"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = PoolFile::parse(Path::new("x.toml"), &text);
            let _ = parse(&text);
        }
    }
}
