//! What the services know, and which of them answers a request.

use super::answer::{AFFINITY, Answer, Call, Scheme, http_date, refuse};
use super::faults::{Faults, MetadataFault, Settings, strikes};
use super::front_end::{Ailment, FrontEnd};
use super::mex::Described;
use super::ntlm::{Handshake, end_point};
use super::record::{Counters, Kind, Request};
use super::shears::Shears;
use super::store::Store;
use super::tls::{Acceptor, LabTls};
use super::users::User;
use super::web_ticket::Tickets;
use super::{Options, garbled, mex, wsdl};
use crate::credential::SipAddress;
use crate::lab::keys::random;
pub(super) use crate::lab::locked;
use crate::lab::pki::{Pki, ServerFaults, WEB_HOST};
use bytes::Bytes;
use hyper::Method;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use uuid::Uuid;

/// One TLS connection.
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) handshake: Mutex<Handshake>,
    /// The channel binding of the server's certificate.
    pub(super) end_point: Vec<u8>,
    pub(super) shears: Shears,
}

/// The services and what they know.
pub(super) struct Service {
    pub(super) pki: Arc<Pki>,
    pub(super) users: Vec<User>,
    pub(super) store: Store,
    settings: Mutex<Settings>,
    port: u16,
    tls: LabTls,
    server_name: Option<String>,
    faults: Mutex<Faults>,
    shown: Mutex<Shown>,
    pub(super) tickets: Mutex<Tickets>,
    /// Messages that were believed, by what proved them and their own id.
    messages: Mutex<HashSet<(String, String)>>,
    pub(super) wrong_pins: Mutex<HashMap<SipAddress, u32>>,
    seen: Mutex<(Vec<Request>, Counters)>,
}

struct Shown {
    faults: ServerFaults,
    end_point: Vec<u8>,
    tls: Acceptor,
    issuing: Bytes,
    root: Vec<u8>,
}

impl Service {
    pub(super) fn new(options: Options, port: u16, issuer_url: &str) -> io::Result<Self> {
        let name = options.server_name.as_deref();
        let shown = shown(&options.pki, options.tls, name, &options.server_faults, issuer_url)?;
        Ok(Self {
            pki: options.pki,
            users: options.users,
            store: Store::default(),
            settings: Mutex::new(options.settings),
            port,
            tls: options.tls,
            server_name: options.server_name,
            faults: Mutex::default(),
            shown: Mutex::new(shown),
            tickets: Mutex::default(),
            messages: Mutex::default(),
            wrong_pins: Mutex::default(),
            seen: Mutex::default(),
        })
    }

    pub(super) fn present(&self, faults: &ServerFaults, issuer_url: &str) -> io::Result<()> {
        let shown = shown(&self.pki, self.tls, self.server_name.as_deref(), faults, issuer_url)?;
        *locked(&self.shown) = shown;
        Ok(())
    }

    pub(super) fn presented(&self) -> ServerFaults {
        locked(&self.shown).faults.clone()
    }

    pub(super) fn tls(&self) -> Acceptor {
        locked(&self.shown).tls.clone()
    }

    pub(super) fn end_point(&self) -> Vec<u8> {
        locked(&self.shown).end_point.clone()
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        locked(&self.faults)
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        locked(&self.settings)
    }

    pub(super) fn counters(&self) -> Counters {
        locked(&self.seen).1.clone()
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        locked(&self.seen).0.clone()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut locked(&self.seen).1);
    }

    /// Whether a message proven by `proof` comes for the first time.
    pub(super) fn is_new(&self, proof: &str, message: &str) -> bool {
        locked(&self.messages).insert((proof.to_owned(), message.to_owned()))
    }

    /// Root and issuing CA of the chain that is shown, DER.
    pub(super) fn server_chain(&self) -> Vec<Vec<u8>> {
        let shown = locked(&self.shown);
        vec![shown.root.clone(), shown.issuing.to_vec()]
    }

    /// The issuing CA's certificate. Counted and not listed, as it is no request of a user's.
    fn issuer_certificate(&self) -> Answer {
        self.count(|counters| *counters.requests.entry(Kind::IssuerDownload).or_default() += 1);
        let mut answer = Answer::empty(200).with("content-type", "application/pkix-cert");
        answer.body = locked(&self.shown).issuing.clone();
        answer
    }

    /// The answer, or `None` to hang up.
    pub(super) fn answer(&self, connection: &Connection, call: &Call) -> Option<Answer> {
        let kind = Kind::of(&call.method, &call.path);
        if call.scheme == Scheme::Http && kind == Kind::IssuerDownload {
            return Some(self.issuer_certificate());
        }
        let mut entry = Request {
            connection: connection.number,
            server: FrontEnd::of(self.settings().front_ends, connection.number, call),
            kind,
            user: None,
            credential: None,
            cookie: call.affinity().map(str::to_owned),
            status: None,
            refusal: None,
        };
        let answer = self.dispatch(connection, call, &mut entry).map(|answer| self.finish(answer, &entry));
        entry.status = answer.as_ref().map(|answer| answer.status);
        let mut seen = locked(&self.seen);
        *seen.1.requests.entry(entry.kind).or_default() += 1;
        seen.0.push(entry);
        answer
    }

    fn dispatch(&self, connection: &Connection, call: &Call, entry: &mut Request) -> Option<Answer> {
        if strikes_at(&mut self.faults().hang_up, entry.kind) {
            return None;
        }
        if self.faults().ill.is_some_and(|ill| ill.server == entry.server && ill.what == Ailment::Down) {
            return Some(refuse(entry, "this front end is down", Answer::empty(503)));
        }
        let (get, post) = (call.method == Method::GET, call.method == Method::POST);
        if call.scheme == Scheme::Http {
            return Some(match entry.kind {
                Kind::RootChains if post => self.root_chains(call, entry),
                Kind::CertProvMetadata if get => self.metadata(Described::CertProv, call),
                Kind::Wsdl if call.path.eq_ignore_ascii_case(super::CERTPROV) => self.wsdl(call),
                _ => Answer::empty(404),
            });
        }
        match entry.kind {
            Kind::CertProvMetadata if get => Some(self.metadata(Described::CertProv, call)),
            Kind::WebTicketMetadata if get => Some(self.metadata(Described::WebTicket, call)),
            Kind::Wsdl => Some(self.wsdl(call)),
            Kind::NtlmTicket if post && self.windows_at(&call.path) => self.ntlm_ticket(connection, call, entry),
            Kind::PinTicket if post && self.settings().pin => Some(self.pin_ticket(call, entry)),
            Kind::CertificateTicket if post && self.settings().certificate => {
                Some(self.certificate_ticket(call, entry))
            }
            Kind::Publish if post => self.publish(call, entry),
            Kind::CertProvMetadata | Kind::WebTicketMetadata | Kind::Publish => Some(Answer::empty(405)),
            Kind::NtlmTicket
            | Kind::PinTicket
            | Kind::CertificateTicket
            | Kind::RootChains
            | Kind::IssuerDownload
            | Kind::Other
            | Kind::Metadata
            | Kind::Ticket => Some(Answer::empty(404)),
        }
    }

    /// The headers that every answer has, and the faults that any answer may have.
    fn finish(&self, answer: Answer, entry: &Request) -> Answer {
        let mut faults = self.faults();
        let hit = |fault: &Option<Kind>| fault.is_some_and(|kind| kind.covers(entry.kind));
        let mut answer = answer
            .told(entry.server)
            .with("x-ms-server-fqdn", entry.server.to_string())
            .with("x-ms-correlation-id", Uuid::new_v4().to_string())
            .with("x-content-type-options", "nosniff");
        if !faults.no_date.contains(&entry.kind) {
            answer = answer.with("date", http_date(faults.now()));
        }
        if entry.cookie.is_none() {
            let (server, number) = (entry.server.short(), u64::from_be_bytes(random()));
            answer = answer.with("set-cookie", format!("{AFFINITY}={server}-{number:016x}; path=/; secure; HttpOnly"));
        }
        if faults.other_prefixes {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            answer.body = (faults.spelling().respell)(text).into();
        }
        if let Some((_, body)) = faults.instead.filter(|(kind, _)| kind.covers(entry.kind)) {
            garbled::replace(&mut answer, body);
        }
        if hit(&faults.huge) {
            answer.body = [answer.body.as_ref(), vec![b' '; 8 << 20].as_slice()].concat().into();
        }
        if hit(&faults.malformed) {
            answer.body.truncate(answer.body.len() / 2);
        }
        answer.delay = faults.slow.filter(|(kind, _)| kind.covers(entry.kind)).map(|(_, delay)| delay);
        if let Some(cut) = faults.cut.as_mut().filter(|cut| cut.kind.covers(entry.kind))
            && strikes(&mut cut.times)
        {
            answer.cut = Some(cut.bytes);
        }
        answer
    }

    /// `https://`, the host the client called, if that is one of the lab's names, and always a port: clients of the era
    /// leave it out of their Host, and do not guess it in an address.
    pub(super) fn origin(&self, call: &Call) -> String {
        let (name, port) = match call.host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
            _ => (call.host.as_str(), None),
        };
        let own = [WEB_HOST, "localhost", "127.0.0.1", "[::1]"].into_iter().chain(self.server_name.as_deref());
        let own = own.into_iter().any(|own| own.eq_ignore_ascii_case(name));
        let port = match (call.scheme, port) {
            (Scheme::Https, Some(port)) => port,
            // It leads nowhere, so whoever asks for it has another way here, and from the port of https.
            (Scheme::Https, None) if name.eq_ignore_ascii_case(WEB_HOST) => 443,
            (Scheme::Https, None) | (Scheme::Http, _) => self.port,
        };
        match own {
            true => format!("https://{name}:{port}"),
            false => format!("https://localhost:{}", self.port),
        }
    }

    /// The addresses in metadata begin so.
    fn described_origin(&self, call: &Call) -> String {
        let origin = self.origin(call);
        match self.faults().metadata {
            MetadataFault::None => origin,
            MetadataFault::Http => origin.replacen("https:", "http:", 1),
            MetadataFault::ForeignHost => "https://web.fabrikam.example".to_owned(),
        }
    }

    fn metadata(&self, service: Described, call: &Call) -> Answer {
        let metadata = mex::document(service, &self.described_origin(call), &self.settings());
        let metadata = if self.faults().wrapped_metadata { mex::wrapped(&metadata) } else { metadata };
        document(&metadata)
    }

    /// A part of a service's description, by the query.
    fn wsdl(&self, call: &Call) -> Answer {
        let service = match call.path.eq_ignore_ascii_case(super::STS) {
            true => Described::WebTicket,
            false => Described::CertProv,
        };
        let origin = self.described_origin(call);
        let address = format!("{origin}{}", call.path);
        let part = wsdl::part(service, call.query.as_deref().unwrap_or_default(), &origin, &address, &self.settings());
        part.map_or_else(|| Answer::empty(404), |part| document(&part))
    }
}

fn document(xml: &str) -> Answer {
    Answer::xml(200, format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n{xml}"))
}

fn shown(pki: &Pki, tls: LabTls, name: Option<&str>, faults: &ServerFaults, issuer_url: &str) -> io::Result<Shown> {
    let names: Vec<&str> = [WEB_HOST].into_iter().chain(name).collect();
    let identity = pki.server_called(&names, faults, issuer_url);
    let end_point = identity.presented.first().map(|server| end_point(server)).unwrap_or_default();
    let tls = Acceptor::new(tls, &identity, &[b"http/1.1"])?;
    Ok(Shown { faults: faults.clone(), end_point, tls, issuing: identity.issuing.into(), root: identity.root })
}

/// Counts one use of a fault that hits n requests of one kind.
pub(super) fn strikes_at(fault: &mut Option<(Kind, u32)>, kind: Kind) -> bool {
    fault.as_mut().is_some_and(|(hit, times)| hit.covers(kind) && strikes(times))
}
