//! What is not public about a pool, as data: the PIN message, the root-chain download, the inside of ErrorInfo, error numbers.
//!
//! A capture from a real pool changes a file and no code. The one shipped profile is the lab's, which this program's lab
//! answers by and no real pool is known to: it is never used towards one.

use super::diagnostics::Meaning;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

const LAB: &str = include_str!("profiles/lab.toml");

/// Longest profile read, bytes.
const MAX_FILE: u64 = 64 << 10;

/// What is not public about a pool. Clones share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile(Arc<Content>);

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    name: String,
    pin: Option<PinProfile>,
    root_chains: Option<RootChainsProfile>,
    error_info: Option<ErrorInfoProfile>,
    #[serde(default)]
    meanings: BTreeMap<String, Meaning>,
}

/// The message that carries a number and a PIN.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinProfile {
    /// The port of the web ticket service's metadata that takes it.
    pub port: Option<String>,
    /// Instead of a port: what stands behind the web ticket service's address.
    pub url_suffix: Option<String>,
    /// Namespace of the token in `wsse:Security` and of its children.
    pub token_namespace: String,
    /// Local name of the token.
    pub token: String,
    /// Local name of the child with the number.
    pub number: String,
    /// Local name of the child with the PIN.
    pub pin: String,
    /// The attribute `Type` of the child with the PIN.
    pub pin_type: Option<String>,
    /// How number and PIN are written.
    #[serde(default)]
    pub encoding: Encoding,
    /// Whether a `wsu:Timestamp` of five minutes stands before the token.
    #[serde(default)]
    pub timestamp: bool,
    /// Whether the request claims the user's SIP address.
    #[serde(default)]
    pub claim_user: bool,
    /// Local name of the element of the assertion that holds the user's SIP address.
    pub user: String,
}

/// How number and PIN are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As they are.
    #[default]
    Plain,
    /// In base64 of their UTF-8, as the forms port takes them (observed there).
    Base64,
}

/// The download of the chains that a phone has to trust.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootChainsProfile {
    /// Path at the pool's internal web host, plain http.
    pub path: String,
    /// The `SOAPAction`, without quotes.
    pub soap_action: String,
    /// Namespace of request and response.
    pub namespace: String,
    /// Local name of the request.
    pub request: String,
    /// Local name of the response.
    pub response: String,
    /// Namespace of the elements that hold a chain.
    pub token_namespace: String,
    /// Local name of the elements that hold a chain: base64 of a PKCS#7 with certificates only, anywhere in the response.
    pub token: String,
}

/// Where an error stands inside an ordinary answer. Local names of elements or attributes; the first that is there counts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ErrorInfoProfile {
    pub(super) element: String,
    pub(super) numbers: Vec<String>,
    pub(super) reasons: Vec<String>,
    pub(super) servers: Vec<String>,
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("the profile {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What it says is no profile.
    #[error("the profile {} is wrong: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and why.
        problem: String,
    },
}

impl ProfileError {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "check the name of the file and who may read it",
            Self::Invalid { .. } => "correct that line; docs/web-services.md has the form and the lab's profile",
        }
    }
}

impl Profile {
    /// The lab's. Never for a real pool.
    pub fn lab() -> Self {
        static SHIPPED: LazyLock<Profile> =
            LazyLock::new(|| Profile::parse(LAB).expect("a test reads the shipped profile"));
        SHIPPED.clone()
    }

    /// From a file of at most 64 KiB.
    pub fn from_file(path: &Path) -> Result<Self, ProfileError> {
        let unreadable = |source| ProfileError::Unreadable { path: path.to_owned(), source };
        let invalid = |problem| ProfileError::Invalid { path: path.to_owned(), problem };
        if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
            return Err(invalid(format!("it is longer than {} KiB", MAX_FILE >> 10)));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(unreadable)?).map_err(invalid)
    }

    /// Reads the text of a profile. Keys that are not known are refused.
    fn parse(text: &str) -> Result<Self, String> {
        let content: Content = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
            let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            format!("{line}{}", error.message().replace('\n', " "))
        })?;
        content.check()?;
        Ok(Self(Arc::new(content)))
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The PIN message, if it is known.
    pub fn pin(&self) -> Option<&PinProfile> {
        self.0.pin.as_ref()
    }

    /// The root-chain download, if it is known.
    pub fn root_chains(&self) -> Option<&RootChainsProfile> {
        self.0.root_chains.as_ref()
    }

    /// Where an error stands. A profile that does not say it reads like the lab's: to read by likely names harms nobody.
    pub(super) fn error_info(&self) -> &ErrorInfoProfile {
        static LIKELY: LazyLock<Profile> = LazyLock::new(Profile::lab);
        let likely = || LIKELY.0.error_info.as_ref().expect("the shipped profile has it");
        self.0.error_info.as_ref().unwrap_or_else(likely)
    }

    /// What an error number means that is not public.
    pub(super) fn meaning(&self, number: u32) -> Option<Meaning> {
        self.0.meanings.get(&number.to_string()).copied()
    }
}

impl Content {
    fn check(&self) -> Result<(), String> {
        for number in self.meanings.keys() {
            if !number.parse::<u32>().is_ok_and(|parsed| parsed > 0 && parsed.to_string() == *number) {
                return Err(format!("[meanings]: `{number}` is not an error number"));
            }
        }
        let mut names: Vec<(&str, &str)> = Vec::new();
        let mut addresses: Vec<(&str, &str)> = Vec::new();
        if let Some(pin) = &self.pin {
            if pin.port.is_some() == pin.url_suffix.is_some() {
                return Err("[pin]: give either port or url_suffix".to_owned());
            }
            if pin.url_suffix.as_ref().is_some_and(|suffix| !suffix.starts_with('/') || suffix.contains(['?', '#'])) {
                return Err("[pin]: url_suffix is a path that begins with /".to_owned());
            }
            names.extend([("token", &*pin.token), ("number", &pin.number), ("pin", &pin.pin), ("user", &pin.user)]);
            addresses.push(("token_namespace", &pin.token_namespace));
            addresses.extend(pin.pin_type.as_deref().map(|kind| ("pin_type", kind)));
        }
        if let Some(chains) = &self.root_chains {
            if !chains.path.starts_with('/') {
                return Err("[root_chains]: path begins with /".to_owned());
            }
            names.extend([("request", &*chains.request), ("response", &chains.response), ("token", &chains.token)]);
            addresses.extend([("soap_action", &*chains.soap_action), ("namespace", &chains.namespace)]);
            addresses.push(("token_namespace", &chains.token_namespace));
        }
        // They are written into messages as they stand.
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        };
        if let Some((key, name)) = names.into_iter().find(|(_, name)| !is_name(name)) {
            return Err(format!("{key}: `{}` is not the local name of an element", name.escape_default()));
        }
        let is_address =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && !"<>\"&'".contains(c));
        match addresses.into_iter().find(|(_, text)| !is_address(text)) {
            Some((key, text)) => Err(format!("{key}: `{}` is not a URI", text.escape_default())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_profile_is_the_labs_and_says_everything_there_is() {
        let lab = Profile::lab();
        assert_eq!(lab.name(), "lab");
        assert_eq!(lab.pin().unwrap().port.as_deref(), Some("WebTicketServicePin"));
        assert_eq!(lab.root_chains().unwrap().response, "GetRootCertChainsResponse");
        assert_eq!(lab.meaning(99006), Some(Meaning::StoreUnavailable));
        assert_eq!(lab.meaning(28000), None);
    }

    #[test]
    fn a_key_that_is_not_known_is_refused_with_its_line() {
        let wrong = LAB.replace("claim_user ", "claims_user");
        let line = wrong.lines().position(|line| line.starts_with("claims_user")).unwrap() + 1;
        let problem = Profile::parse(&wrong).unwrap_err();
        assert!(problem.starts_with(&format!("line {line}: ")) && problem.contains("claims_user"), "{problem}");
    }

    #[test]
    fn what_cannot_stand_in_a_message_is_refused() {
        for (right, wrong) in [
            ("\"UsernameToken\"", "\"Username Token\""),
            ("\"Username\"", "\"1<\""),
            ("99001 =", "nine ="),
            ("\"pin_wrong\"", "\"pin_odd\""),
            ("# url_suffix", "url_suffix"),
            ("port = \"WebTicketServicePin\"", ""),
            ("soap_action     = \"http", "soap_action     = \"ht tp"),
            ("encoding        = \"plain\"", "encoding = \"rot13\""),
        ] {
            assert!(LAB.contains(right), "{right}");
            assert!(Profile::parse(&LAB.replacen(right, wrong, 1)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_is_no_profile_is_named() {
        let missing = Profile::from_file(Path::new("/nowhere/pool.toml")).unwrap_err();
        assert_eq!(missing.to_string(), "the profile /nowhere/pool.toml cannot be read");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "name = 'x'\nPIN = 1\n").unwrap();
        let wrong = Profile::from_file(file.path()).unwrap_err().to_string();
        assert!(wrong.contains("line 2: "), "{wrong}");
        std::fs::write(file.path(), LAB).unwrap();
        assert_eq!(Profile::from_file(file.path()).unwrap(), Profile::lab());
    }
}
