//! The authentication headers of SIP ([MS-SIPAE] 2.2, [MS-SIP] 2.2): a scheme and its parameters, read and written.
//!
//! One grammar serves all six headers. Parameters stand in any order, their names are compared without case, and values
//! are never escaped: a `\` is a `\`, and a quote ends the value ([MS-SIP] 3.1.5.1).

use super::message::{Headers, Message};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::fmt;

/// The realm of every challenge; part of what names an association, compared with case ([MS-SIP] 3.1.5.1).
pub const REALM: &str = "SIP Communications Service";

/// Parameters that one header value may have.
const MOST_PARAMETERS: usize = 64;

/// Who asks for authentication: each has headers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The server itself: 401.
    Server,
    /// A proxy on the way: 407.
    Proxy,
}

impl Place {
    /// Of a status that asks.
    pub fn of_status(status: u16) -> Option<Self> {
        match status {
            401 => Some(Self::Server),
            407 => Some(Self::Proxy),
            _ => None,
        }
    }

    /// The header with a challenge.
    pub fn challenge_header(self) -> &'static str {
        match self {
            Self::Server => "WWW-Authenticate",
            Self::Proxy => "Proxy-Authenticate",
        }
    }

    /// The header with the client's answer, and with its signatures.
    pub fn credentials_header(self) -> &'static str {
        match self {
            Self::Server => "Authorization",
            Self::Proxy => "Proxy-Authorization",
        }
    }

    /// The header with the server's signatures.
    pub fn info_header(self) -> &'static str {
        match self {
            Self::Server => "Authentication-Info",
            Self::Proxy => "Proxy-Authentication-Info",
        }
    }
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// By a certificate: a TLS handshake within the headers.
    TlsDsk,
    /// By a ticket of the domain.
    Kerberos,
    /// By a password of the domain.
    Ntlm,
}

impl Scheme {
    /// In the order in which clients prefer them.
    pub const ALL: [Self; 3] = [Self::TlsDsk, Self::Kerberos, Self::Ntlm];

    /// As headers spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::TlsDsk => "TLS-DSK",
            Self::Kerberos => "Kerberos",
            Self::Ntlm => "NTLM",
        }
    }

    /// Of a header; case does not count.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value of an authentication header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    scheme: String,
    parameters: Vec<Parameter>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parameter {
    name: String,
    value: String,
    quoted: bool,
}

/// Why a value is no authentication header's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAuthentication {
    /// No scheme where one has to stand.
    #[error("it names no scheme")]
    NoScheme,
    /// A parameter without a name or without a value.
    #[error("`{text}` is no parameter")]
    Parameter {
        /// The text, shortened.
        text: String,
    },
    /// A quote that does not end.
    #[error("the value of `{name}` does not end")]
    OpenQuote {
        /// The parameter.
        name: String,
    },
    /// A parameter twice: which one counts is anybody's guess.
    #[error("it has `{name}` twice")]
    Twice {
        /// The parameter.
        name: String,
    },
    /// Parameters without an end in sight.
    #[error("it has more than {MOST_PARAMETERS} parameters")]
    Many,
    /// What has to be a number is none.
    #[error("`{name}` is `{value}`, which is no such number")]
    Number {
        /// The parameter.
        name: &'static str,
        /// Its value, shortened.
        value: String,
    },
    /// What has to be base64 is none.
    #[error("`gssapi-data` is not base64")]
    Data,
}

impl Authentication {
    /// A value without parameters.
    pub fn new(scheme: &str) -> Self {
        Self { scheme: plain(scheme), parameters: Vec::new() }
    }

    /// With a quoted parameter at the end. Quotes and control characters, which no value can have, are left out.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.parameters.push(Parameter { name: name.to_owned(), value: plain(value), quoted: true });
        self
    }

    /// With a parameter that stands without quotes, as `version=4` does.
    pub fn with_bare(mut self, name: &str, value: u32) -> Self {
        self.parameters.push(Parameter { name: name.to_owned(), value: value.to_string(), quoted: false });
        self
    }

    /// With handshake data, in base64.
    pub fn with_data(self, data: &[u8]) -> Self {
        let data = BASE64_STANDARD.encode(data);
        self.with("gssapi-data", &data)
    }

    /// The scheme, as it stands there.
    pub fn scheme_name(&self) -> &str {
        &self.scheme
    }

    /// The scheme, if it is a known one.
    pub fn scheme(&self) -> Option<Scheme> {
        Scheme::of_name(&self.scheme)
    }

    /// A parameter's value without its quotes.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|p| p.name.eq_ignore_ascii_case(name)).map(|p| p.value.as_str())
    }

    /// A parameter that is a number: `version`, `cnum`, `snum`.
    pub fn number(&self, name: &'static str) -> Result<Option<u32>, BadAuthentication> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        let number = value.parse().ok().filter(|_| digits);
        number.map(Some).ok_or_else(|| BadAuthentication::Number { name, value: shortened(value) })
    }

    /// The version of the protocol: 2 where none is named ([MS-SIPAE] 3.3.5.1).
    pub fn version(&self) -> Result<u32, BadAuthentication> {
        Ok(self.number("version")?.unwrap_or(2))
    }

    /// Handshake data; `None` where there is none, which is not the same as none in it.
    pub fn data(&self) -> Result<Option<Vec<u8>>, BadAuthentication> {
        let decode = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| BadAuthentication::Data);
        self.get("gssapi-data").map(decode).transpose()
    }

    /// All values of one header line. Each has a line of its own by the rule; some proxies join them with commas.
    pub fn read(line: &str) -> Result<Vec<Self>, BadAuthentication> {
        let mut found: Vec<Self> = Vec::new();
        let mut rest = line.trim_start_matches([' ', '\t', ',']);
        while !rest.is_empty() {
            let word = token(rest).ok_or_else(|| BadAuthentication::Parameter { text: shortened(rest) })?;
            let after = rest[word.len()..].trim_start_matches([' ', '\t']);
            if let Some(value) = after.strip_prefix('=') {
                let into = found.last_mut().ok_or(BadAuthentication::NoScheme)?;
                rest = into.read_value(word, value.trim_start_matches([' ', '\t']))?;
            } else {
                found.push(Self::new(word));
                rest = after;
            }
            rest = rest.trim_start_matches([' ', '\t', ',']);
        }
        if found.is_empty() { Err(BadAuthentication::NoScheme) } else { Ok(found) }
    }

    /// The values of all lines of a header.
    pub fn read_all(headers: &Headers, name: &str) -> Result<Vec<Self>, BadAuthentication> {
        let mut all = Vec::new();
        for line in headers.all(name) {
            all.extend(Self::read(line)?);
        }
        Ok(all)
    }

    fn read_value<'a>(&mut self, name: &str, text: &'a str) -> Result<&'a str, BadAuthentication> {
        if self.get(name).is_some() {
            return Err(BadAuthentication::Twice { name: shortened(name) });
        }
        if self.parameters.len() == MOST_PARAMETERS {
            return Err(BadAuthentication::Many);
        }
        let (value, quoted, rest) = match text.strip_prefix('"') {
            Some(inner) => {
                let open = || BadAuthentication::OpenQuote { name: shortened(name) };
                let (value, rest) = inner.split_once('"').ok_or_else(open)?;
                (value, true, rest)
            }
            None => {
                let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
                (&text[..end], false, &text[end..])
            }
        };
        let whole = quoted || !value.is_empty() && !value.contains('"');
        if !whole {
            return Err(BadAuthentication::Parameter { text: shortened(&format!("{name}={value}")) });
        }
        self.parameters.push(Parameter { name: name.to_owned(), value: value.to_owned(), quoted });
        Ok(rest)
    }
}

impl fmt::Display for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        for (index, Parameter { name, value, quoted }) in self.parameters.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match quoted {
                true => write!(f, "{comma} {name}=\"{value}\"")?,
                false => write!(f, "{comma} {name}={value}")?,
            }
        }
        Ok(())
    }
}

/// What a server asks for, in one of the schemes that it offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Who asks.
    pub place: Place,
    /// The scheme.
    pub scheme: Scheme,
    /// [`REALM`], as a rule.
    pub realm: String,
    /// The server, for NTLM and TLS-DSK its name; to be echoed as it is.
    pub targetname: String,
    /// Of the protocol.
    pub version: u32,
    /// Names the association, from the second challenge on.
    pub opaque: Option<String>,
    /// Where certificates are to be had; in a first challenge for TLS-DSK.
    pub sts_uri: Option<String>,
    /// Handshake data.
    pub data: Option<Vec<u8>>,
}

/// What a server offers: the schemes that we know, in its order, and the names of the others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// Known schemes.
    pub challenges: Vec<Challenge>,
    /// Names of unknown schemes.
    pub unknown: Vec<String>,
}

impl Offer {
    /// Reads the challenges of a 401 or 407; both forms where both are there, the one of the status first.
    pub fn read(message: &Message) -> Result<Self, BadAuthentication> {
        let places = match message.status().and_then(Place::of_status) {
            Some(Place::Proxy) => [Place::Proxy, Place::Server],
            Some(Place::Server) | None => [Place::Server, Place::Proxy],
        };
        let mut offer = Self::default();
        for place in places {
            for value in Authentication::read_all(&message.headers, place.challenge_header())? {
                match value.scheme() {
                    Some(scheme) => offer.challenges.push(Challenge::read(place, scheme, &value)?),
                    None => offer.unknown.push(value.scheme_name().to_owned()),
                }
            }
        }
        Ok(offer)
    }

    /// The challenge of a scheme, if it is offered.
    pub fn of(&self, scheme: Scheme) -> Option<&Challenge> {
        self.challenges.iter().find(|challenge| challenge.scheme == scheme)
    }

    /// `NTLM, Kerberos, TLS-DSK`, or `nothing`.
    pub fn names(&self) -> String {
        let known = self.challenges.iter().map(|challenge| challenge.scheme.name());
        let names: Vec<&str> = known.chain(self.unknown.iter().map(String::as_str)).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    }
}

impl Challenge {
    fn read(place: Place, scheme: Scheme, value: &Authentication) -> Result<Self, BadAuthentication> {
        let text = |name| value.get(name).map(str::to_owned);
        Ok(Self {
            place,
            scheme,
            realm: text("realm").unwrap_or_default(),
            targetname: text("targetname").unwrap_or_default(),
            version: value.version()?,
            opaque: text("opaque"),
            sts_uri: text("sts-uri"),
            data: value.data()?,
        })
    }
}

/// The word that a text begins with.
fn token(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "-._!%*+'~".contains(c))).unwrap_or(text.len());
    if end == 0 { None } else { Some(&text[..end]) }
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| *c != '"' && !c.is_control()).collect()
}

/// What an error shows of a value.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OFFER: &[&str] = &[
        r#"NTLM realm="SIP Communications Service", targetname="fe01.contoso.example", version=4"#,
        r#"Kerberos realm="SIP Communications Service", targetname="sip/fe01.contoso.example", version=4"#,
        r#"TLS-DSK realm="SIP Communications Service", targetname="fe01.contoso.example", version=4, sts-uri="https://fe01.contoso.example:443/CertProv/CertProvisioningService.svc""#,
    ];

    fn asking(status: u16, name: &str, lines: &[&str]) -> Offer {
        let message = lines.iter().fold(Message::response(status, "no"), |message, line| message.with(name, line));
        Offer::read(&message).unwrap()
    }

    #[test]
    fn the_challenges_of_a_server_are_read_in_its_order() {
        let offer = asking(401, "WWW-Authenticate", OFFER);
        assert_eq!(offer.names(), "NTLM, Kerberos, TLS-DSK");
        let dsk = offer.of(Scheme::TlsDsk).unwrap();
        assert_eq!((dsk.realm.as_str(), dsk.targetname.as_str(), dsk.version), (REALM, "fe01.contoso.example", 4));
        let certprov = "https://fe01.contoso.example:443/CertProv/CertProvisioningService.svc";
        assert_eq!((dsk.sts_uri.as_deref(), &dsk.opaque, &dsk.data), (Some(certprov), &None, &None));
        assert_eq!(dsk.place, Place::Server);
    }

    #[test]
    fn challenges_in_one_line_are_the_same_challenges() {
        assert_eq!(asking(401, "WWW-Authenticate", &[&OFFER.join(", ")]), asking(401, "WWW-Authenticate", OFFER));
    }

    #[test]
    fn a_proxy_asks_by_headers_of_its_own() {
        let offer = asking(407, "Proxy-Authenticate", OFFER);
        assert!(offer.challenges.iter().all(|challenge| challenge.place == Place::Proxy));
        assert_eq!(Place::Proxy.credentials_header(), "Proxy-Authorization");
        assert_eq!(Place::Proxy.info_header(), "Proxy-Authentication-Info");
    }

    #[test]
    fn order_case_blanks_and_quotes_do_not_matter_and_a_backslash_is_itself() {
        let value = r#"tls-dsk VERSION="3",Realm = "a\b,c" ,opaque="5F2F9C11" , gssapi-data="FgMB""#;
        let read = &Authentication::read(value).unwrap()[0];
        assert_eq!(read.scheme(), Some(Scheme::TlsDsk));
        assert_eq!((read.get("realm"), read.version()), (Some(r"a\b,c"), Ok(3)));
        assert_eq!(read.data(), Ok(Some(vec![0x16, 0x03, 0x01])));
    }

    #[test]
    fn without_a_version_it_is_two_and_empty_data_is_not_absent_data() {
        let empty = &Authentication::read(r#"NTLM realm="r", gssapi-data="""#).unwrap()[0];
        assert_eq!((empty.version(), empty.data()), (Ok(2), Ok(Some(Vec::new()))));
        assert_eq!(Authentication::read("NTLM").unwrap()[0].data(), Ok(None));
    }

    #[test]
    fn a_scheme_that_nobody_knows_is_named() {
        let offer = asking(401, "WWW-Authenticate", &[r#"Digest realm="r", nonce="1""#, OFFER[2]]);
        assert_eq!(offer.names(), "TLS-DSK, Digest");
        assert_eq!(Offer::read(&Message::response(401, "no")).unwrap().names(), "nothing");
    }

    #[test]
    fn what_is_ambiguous_or_broken_is_refused_by_name() {
        for (value, said) in [
            ("", "it names no scheme"),
            ("realm=\"r\"", "it names no scheme"),
            ("NTLM realm=\"r", "the value of `realm` does not end"),
            ("NTLM realm=\"r\", Realm=\"s\"", "it has `Realm` twice"),
            ("NTLM realm=", "`realm=` is no parameter"),
            ("NTLM \"x\"", "`\"x\"` is no parameter"),
        ] {
            assert_eq!(Authentication::read(value).unwrap_err().to_string(), said);
        }
        let value = |text| Authentication::read(text).unwrap().remove(0);
        assert_eq!(
            value("NTLM version=x").version().unwrap_err().to_string(),
            "`version` is `x`, which is no such number"
        );
        assert!(value("NTLM cnum=\"+1\"").number("cnum").is_err());
        assert_eq!(value("NTLM gssapi-data=\"*\"").data(), Err(BadAuthentication::Data));
    }

    #[test]
    fn a_value_is_written_as_real_clients_write_it() {
        let value = Authentication::new("TLS-DSK").with("qop", "auth").with("realm", REALM).with_data(b"\x16\x03\x01");
        let text = r#"TLS-DSK qop="auth", realm="SIP Communications Service", gssapi-data="FgMB", version=4"#;
        assert_eq!(value.with_bare("version", 4).to_string(), text);
    }

    proptest! {
        #[test]
        fn any_value_is_read_or_refused(value in "\\PC{0,80}", like in "(TLS-DSK|[a-z\"]{0,3}) ?([a-z-]{0,8} ?=? ?\"?[a-z,=]{0,9}\"?,? ?){0,6}") {
            let _ = Authentication::read(&value);
            let _ = Authentication::read(&like);
        }

        #[test]
        fn what_is_written_reads_back(
            values in proptest::collection::btree_map("[a-z][a-z-]{0,9}", "[ -~]{0,30}", 0..9),
            data in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let mut value = Authentication::new("TLS-DSK").with_bare("version", 4).with_data(&data);
            for (name, text) in values.iter().filter(|(name, _)| value.get(name).is_none()).collect::<Vec<_>>() {
                value = value.with(name, text);
            }
            let read = Authentication::read(&value.to_string()).unwrap();
            prop_assert_eq!(&read, &[value]);
            prop_assert_eq!(read[0].data(), Ok(Some(data)));
        }
    }
}
