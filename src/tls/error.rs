//! Why there is no TLS connection to a server, and what to do about it.

use super::Engine;
use std::io;

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The host cannot be a server name.
    #[error("`{host}` is not a host name")]
    BadHost {
        /// As given.
        host: String,
    },
    /// There is not one trust anchor to go by.
    #[error("no trust anchor is known, so no server can be trusted")]
    NoAnchors,
    /// DNS has no address for the name.
    #[error("the name {host} does not resolve")]
    NotResolved {
        /// The server.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Something answers there, and nothing listens on the port.
    #[error("{host} refuses connections on port {port}")]
    Refused {
        /// The server.
        host: String,
        /// Its port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// No way there.
    #[error("{host} port {port} cannot be reached")]
    Unreachable {
        /// The server.
        host: String,
        /// Its port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// No answer in time.
    #[error("{host} port {port} did not answer within {seconds} s ({step})")]
    TimedOut {
        /// The server.
        host: String,
        /// Its port.
        port: u16,
        /// The limit.
        seconds: u64,
        /// `connecting`, `asking the proxy` or `TLS handshake`.
        step: &'static str,
    },
    /// No HTTP proxy, or one that wants TLS to itself.
    #[error("`{proxy}` is not an address of a plain HTTP proxy")]
    ProxyUnfit {
        /// The proxy, without its credentials.
        proxy: String,
    },
    /// No way to the proxy.
    #[error("the proxy {proxy} cannot be reached")]
    ProxyUnreachable {
        /// The proxy.
        proxy: String,
        /// Why.
        source: Box<TlsError>,
    },
    /// The proxy does not let this computer through.
    #[error("the proxy {proxy} refuses to connect to {host} port {port} (HTTP {status})")]
    ProxyRefuses {
        /// The proxy.
        proxy: String,
        /// The server that it was asked for.
        host: String,
        /// Its port.
        port: u16,
        /// The answer.
        status: u16,
    },
    /// The proxy wants to know who asks (HTTP 407).
    #[error("the proxy {proxy} {}", if *given { "refuses the user name and password it was given" } else { "wants a user name and password" })]
    ProxyWantsLogin {
        /// The proxy.
        proxy: String,
        /// It was given some.
        given: bool,
    },
    /// What answers there is no HTTP proxy.
    #[error("the proxy {proxy} does not answer as an HTTP proxy does")]
    ProxyNonsense {
        /// The proxy.
        proxy: String,
        /// What is wrong with its answer.
        source: io::Error,
    },
    /// This computer does not trust the server's certificate.
    #[error("the certificate of {host} is not trusted: {reason}")]
    Untrusted {
        /// The server.
        host: String,
        /// Why, for a person.
        reason: Distrust,
        /// The chain exactly as sent, own certificate first, DER.
        presented: Vec<Vec<u8>>,
        /// webpki's exact verdict.
        #[source]
        verdict: Box<rustls::Error>,
    },
    /// The two sides share no TLS version or cipher.
    #[error("{host} and this program share no TLS version or cipher; {}", nothing_in_common(*engine))]
    NoCommonCipher {
        /// The server.
        host: String,
        /// The engine that tried. There is no other try with the other one.
        engine: Engine,
        /// What the engine said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The pool is said to need the engine for old TLS, and this build has none.
    #[error("{host} is to be reached with old TLS, and this build of the program has no engine for it")]
    EngineMissing {
        /// The server.
        host: String,
    },
    /// The handshake failed in another way.
    #[error("the TLS handshake with {host} failed")]
    Handshake {
        /// The server.
        host: String,
        /// What the engine said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke during the handshake: often a plain-text port, a proxy, or a server that hangs up on TLS 1.2.
    #[error("the connection to {host} broke during the TLS handshake")]
    Broken {
        /// The server.
        host: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a certificate is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// The chain leads to a root that this computer does not have.
    #[error("its root `{root}` is not among this computer's trust anchors")]
    UnknownRoot {
        /// The root's name.
        root: String,
    },
    /// The chain ends at an issuer whose certificate was not sent and could not be got elsewhere. It may be the root, which
    /// need not be sent, or an intermediate.
    #[error(
        "its chain ends at `{issuer}`, a root or an intermediate that is not sent and not among this computer's trust anchors{}",
        tried_text(tried)
    )]
    UnknownIssuer {
        /// The issuer's name.
        issuer: String,
        /// Addresses that the last certificate names for it, with what came of trying them.
        tried: Vec<String>,
    },
    /// The server sent its own certificate alone, and that of its issuer could not be got elsewhere. Told apart from an
    /// unknown root by the length of what was sent, which is inferred: a CA may sign servers directly.
    #[error("the server does not send the certificate of its issuer `{issuer}`{}", tried_text(tried))]
    MissingIntermediate {
        /// The issuer's name.
        issuer: String,
        /// Addresses that the certificate names for it, with what came of trying them.
        tried: Vec<String>,
    },
    /// Past its end by this computer's clock.
    #[error("a certificate of its chain has expired by this computer's clock")]
    Expired,
    /// Before its beginning by this computer's clock.
    #[error("a certificate of its chain is not valid yet by this computer's clock")]
    NotYetValid,
    /// It is for other names.
    #[error("it is for {}", names_text(names))]
    WrongName {
        /// The names it is for.
        names: Vec<String>,
    },
    /// A hash that nobody should believe any more. This program does not either, on purpose.
    #[error("the certificate `{subject}` of its chain is signed with SHA-1 or MD5, which can be forged")]
    OldSignature {
        /// Whose certificate.
        subject: String,
    },
    /// Anything else that webpki refuses; the verdict has the words.
    #[error("it breaks the rules for server certificates")]
    Unfit,
}

fn nothing_in_common(engine: Engine) -> &'static str {
    match engine {
        Engine::Modern => {
            "the server probably lacks ECDHE with AES-GCM, as Lync 2010/2013 on Windows Server 2012 R2 and older do"
        }
        Engine::Legacy => "old TLS was asked for: TLS 1.0 to 1.2, with CBC ciphers too",
    }
}

fn tried_text(tried: &[String]) -> String {
    if tried.is_empty() { String::new() } else { format!("; tried {}", tried.join(", ")) }
}

fn names_text(names: &[String]) -> String {
    if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") }
}

impl TlsError {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::BadHost { .. } => "correct the address of the Web Services",
            Self::NoAnchors => "name the CA's certificate with --trust-anchor",
            Self::NotResolved { .. } => {
                "check the spelling, and that this computer uses the DNS of the network where the pool lives"
            }
            Self::Refused { .. } => "check the port, and that the Web Services of the pool are running",
            Self::Unreachable { .. } | Self::TimedOut { .. } => {
                "check this computer's network and the firewall between it and the pool, then repeat"
            }
            Self::ProxyUnfit { .. } => {
                "give the proxy as http://host:port, or `--proxy straight` if there is a way without it"
            }
            Self::ProxyUnreachable { .. } | Self::ProxyNonsense { .. } => {
                "check the proxy's address (`--proxy`, TETHERCERT_PROXY, HTTPS_PROXY), or give `--proxy straight` if there is a way without it"
            }
            Self::ProxyRefuses { .. } => {
                "have the proxy's administrator allow this server, or give `--proxy straight` if there is a way without it"
            }
            Self::ProxyWantsLogin { .. } => {
                "put the right user name and password into TETHERCERT_PROXY or HTTPS_PROXY: http://name:password@host:port"
            }
            Self::Untrusted { reason, .. } => reason.next_step(),
            Self::NoCommonCipher { engine: Engine::Modern, .. } => {
                "reach this pool with old TLS: `--tls legacy`, or `tls = \"legacy\"` in the pool's configuration; or enable ECDHE with AES-GCM on the server"
            }
            Self::NoCommonCipher { engine: Engine::Legacy, .. } => {
                "leave out `--tls legacy`, or `tls = \"legacy\"` in the pool's configuration: this server may want newer TLS"
            }
            Self::EngineMissing { .. } => {
                "use a build made with `--features legacy-tls`, or enable ECDHE with AES-GCM on the server and leave out `legacy`"
            }
            Self::Handshake { .. } => {
                "check that the address is an HTTPS service and that no proxy stands in between, then repeat"
            }
            Self::Broken { .. } => {
                "check that the address is an HTTPS service and that no proxy stands in between, then repeat; a very old server may need `--tls legacy`"
            }
        }
    }

    /// Waiting and repeating may help, with nothing changed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::NotResolved { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::ProxyUnreachable { .. }
            | Self::Broken { .. } => true,
            // The proxy itself did not get there.
            Self::ProxyRefuses { status, .. } => matches!(status, 502..=504),
            Self::BadHost { .. }
            | Self::NoAnchors
            | Self::ProxyUnfit { .. }
            | Self::ProxyWantsLogin { .. }
            | Self::ProxyNonsense { .. }
            | Self::Untrusted { .. }
            | Self::NoCommonCipher { .. }
            | Self::EngineMissing { .. }
            | Self::Handshake { .. } => false,
        }
    }
}

impl Distrust {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::UnknownRoot { .. } => {
                "ask the administrator for the root's certificate, compare its fingerprint, and give it with --trust-anchor"
            }
            Self::UnknownIssuer { .. } => {
                "ask the administrator for that certificate: a root is given with --trust-anchor after its fingerprint was compared, an intermediate has to be sent by the server"
            }
            Self::MissingIntermediate { .. } => {
                "have the server send its whole chain, or give the issuer's certificate with --trust-anchor"
            }
            Self::Expired => "check this computer's clock; if it is right, the server needs a new certificate",
            Self::NotYetValid => "check this computer's clock",
            Self::WrongName { .. } => {
                "use a name that the certificate is for, or have the server's certificate replaced"
            }
            Self::OldSignature { .. } => "have the administrator replace that certificate by one signed with SHA-256",
            Self::Unfit => "have the administrator look at the server's certificate",
        }
    }
}
