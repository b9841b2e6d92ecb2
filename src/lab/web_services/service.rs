//! What each request is answered with.

use super::faults::{CertificateFault, Faults, Settings, WindowsAuth, strikes};
use super::ntlm::{Handshake, Step};
use super::publish::{self, PublishRequest, RequestError, TicketError};
use super::record::{Counters, Credential, Kind, Request};
use super::store::{Published, Store};
use super::users::User;
use super::web_ticket::{self, Spelling, TicketRequest, Tickets};
use super::{Options, SERVER, mex, soap};
use crate::credential::{KeyKind, SipAddress};
use crate::lab::keys::{Keys, random};
use crate::lab::pki::{Pki, ServerFaults, WEB_HOST};
use bytes::Bytes;
use hyper::Method;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::macros::format_description;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// Wrong PINs until it is locked, for all that a lab lives.
const PIN_TRIES: u32 = 10;
const AFFINITY: &str = "LabAffinity";

/// One request, read whole.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) host: String,
    pub(super) action: Option<String>,
    pub(super) authorization: Option<String>,
    pub(super) cookie: Option<String>,
    pub(super) body: String,
}

/// One TLS connection.
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) handshake: Mutex<Handshake>,
}

/// What goes back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    pub(super) delay: Option<std::time::Duration>,
}

impl Answer {
    fn xml(status: u16, body: String) -> Self {
        let kind = ("content-type", "text/xml; charset=utf-8".to_owned());
        Self { status, headers: vec![kind], body: body.into(), delay: None }
    }

    fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), delay: None }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The services and what they know.
pub(super) struct Service {
    pub(super) pki: Arc<Pki>,
    pub(super) users: Vec<User>,
    pub(super) store: Store,
    settings: Settings,
    port: u16,
    faults: Mutex<Faults>,
    shown: Mutex<Shown>,
    tickets: Mutex<Tickets>,
    wrong_pins: Mutex<HashMap<SipAddress, u32>>,
    seen: Mutex<(Vec<Request>, Counters)>,
}

struct Shown {
    tls: Arc<rustls::ServerConfig>,
    issuing: Bytes,
}

impl Service {
    pub(super) fn new(options: Options, port: u16, issuer_url: &str) -> io::Result<Self> {
        let shown = shown(&options.pki, &options.server_faults, issuer_url)?;
        Ok(Self {
            pki: options.pki,
            users: options.users,
            store: Store::default(),
            settings: options.settings,
            port,
            faults: Mutex::default(),
            shown: Mutex::new(shown),
            tickets: Mutex::default(),
            wrong_pins: Mutex::default(),
            seen: Mutex::default(),
        })
    }

    pub(super) fn present(&self, faults: &ServerFaults, issuer_url: &str) -> io::Result<()> {
        let shown = shown(&self.pki, faults, issuer_url)?;
        *locked(&self.shown) = shown;
        Ok(())
    }

    pub(super) fn tls(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&locked(&self.shown).tls)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        locked(&self.faults)
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

    /// The issuing CA's certificate, if that is what is at `path`.
    pub(super) fn issuer_certificate(&self, path: &str) -> Option<Bytes> {
        let kind = Kind::of(path);
        self.count(|counters| *counters.requests.entry(kind).or_default() += 1);
        (kind == Kind::IssuerDownload).then(|| locked(&self.shown).issuing.clone())
    }

    /// The answer, or `None` to hang up.
    pub(super) fn answer(&self, connection: &Connection, call: &Call) -> Option<Answer> {
        let mut entry = Request {
            connection: connection.number,
            kind: Kind::of(&call.path),
            user: None,
            credential: None,
            cookie: call.cookie.as_deref().and_then(affinity).map(str::to_owned),
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
        if let Some((_, times)) = self.faults().hang_up.as_mut().filter(|(kind, _)| *kind == entry.kind)
            && strikes(times)
        {
            return None;
        }
        let (get, post) = (call.method == Method::GET, call.method == Method::POST);
        match entry.kind {
            Kind::CertProvMetadata if get => Some(self.metadata(mex::certificate_provisioning(&self.origin(call)))),
            Kind::WebTicketMetadata if get => Some(self.metadata(mex::web_ticket(&self.origin(call), &self.settings))),
            Kind::NtlmTicket if post && self.windows_at(&call.path) => Some(self.ntlm_ticket(connection, call, entry)),
            Kind::PinTicket if post && self.settings.pin => Some(self.pin_ticket(call, entry)),
            Kind::Publish if post => self.publish(call, entry),
            Kind::CertProvMetadata | Kind::WebTicketMetadata | Kind::Publish => Some(Answer::empty(405)),
            Kind::NtlmTicket | Kind::PinTicket | Kind::IssuerDownload | Kind::Other => Some(Answer::empty(404)),
        }
    }

    /// The headers that every answer has, and the faults that any answer may have.
    fn finish(&self, answer: Answer, entry: &Request) -> Answer {
        let faults = self.faults();
        let hit = |fault: &Option<Kind>| *fault == Some(entry.kind);
        let mut answer = answer
            .with("x-ms-server-fqdn", SERVER)
            .with("x-ms-correlation-id", Uuid::new_v4().to_string())
            .with("x-content-type-options", "nosniff");
        if !hit(&faults.no_date) {
            answer = answer.with("date", http_date(now(&faults)));
        }
        if entry.cookie.is_none() {
            let value = format!("{AFFINITY}={:016x}; path=/; secure; HttpOnly", u64::from_be_bytes(random()));
            answer = answer.with("set-cookie", value);
        }
        if hit(&faults.malformed) {
            answer.body.truncate(answer.body.len() / 2);
        }
        if hit(&faults.huge) {
            answer.body = [&answer.body[..], &vec![b' '; 8 << 20]].concat().into();
        }
        answer.delay = faults.slow.filter(|(kind, _)| *kind == entry.kind).map(|(_, delay)| delay);
        answer
    }

    /// `https://` and the host the client called, if that is one of the lab's names.
    fn origin(&self, call: &Call) -> String {
        let name = call.host.rsplit_once(':').map_or(call.host.as_str(), |(name, _)| name);
        let own = [WEB_HOST, "localhost", "127.0.0.1", "[::1]"].iter().any(|own| own.eq_ignore_ascii_case(name));
        if own { format!("https://{}", call.host) } else { format!("https://localhost:{}", self.port) }
    }

    fn metadata(&self, metadata: String) -> Answer {
        let faults = self.faults();
        let metadata = if faults.wrapped_metadata { mex::wrapped(&metadata) } else { metadata };
        let spell = spelling(&faults).respell;
        Answer::xml(200, format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n{}", spell(metadata)))
    }

    fn windows_at(&self, path: &str) -> bool {
        match self.settings.windows {
            WindowsAuth::Negotiate | WindowsAuth::OnlyNtlmOffered => path.eq_ignore_ascii_case(super::STS),
            WindowsAuth::NtlmPort => path.eq_ignore_ascii_case(super::STS_NTLM),
            WindowsAuth::Off => false,
        }
    }

    fn ntlm_ticket(&self, connection: &Connection, call: &Call, entry: &mut Request) -> Answer {
        let mut handshake = locked(&connection.handshake);
        let user = match (&call.authorization, &*handshake) {
            (None, Handshake::Done(user)) => *user,
            (None, _) => return self.unauthorised(),
            (Some(header), _) => match handshake.step(header, &self.users) {
                Step::Challenge(token) => return Answer::empty(401).with("www-authenticate", token),
                Step::Welcome(user) => {
                    entry.credential = Some(Credential::Ntlm);
                    user
                }
                Step::Refused(user, why) => {
                    entry.user = user.map(|user| self.users[user].sip.clone());
                    entry.credential = user.map(|_| Credential::Ntlm);
                    return self.refuse(entry, why, self.unauthorised());
                }
            },
        };
        drop(handshake);
        let internal = "Internal error while processing Integrated Windows authentication or authorization.";
        if strikes(&mut self.faults().sign_in_broken) {
            entry.user = Some(self.users[user].sip.clone());
            return diagnosed(500, 28001, internal);
        }
        self.ticket(user, call, entry)
    }

    fn unauthorised(&self) -> Answer {
        let answer = Answer::empty(401);
        match self.settings.windows {
            WindowsAuth::Negotiate => answer.with("www-authenticate", "Negotiate").with("www-authenticate", "NTLM"),
            _ => answer.with("www-authenticate", "NTLM"),
        }
    }

    fn pin_ticket(&self, call: &Call, entry: &mut Request) -> Answer {
        let Some(document) = soap::parse(&call.body) else { return self.malformed(entry, "not a SOAP envelope") };
        let Some((number, pin)) = web_ticket::number_and_pin(&document) else {
            entry.refusal = Some("no number and PIN".to_owned());
            return faulted(28020, "No valid security token.");
        };
        entry.credential = Some(Credential::Pin);
        let owners: Vec<usize> = (0..self.users.len()).filter(|i| self.users[*i].has_number(number)).collect();
        let right = owners.iter().copied().find(|i| self.users[*i].has_pin(pin));
        entry.user = right.or(owners.first().copied()).map(|i| self.users[i].sip.clone());
        let mut wrong = locked(&self.wrong_pins);
        let tries = |wrong: &HashMap<SipAddress, u32>, i: usize| wrong.get(&self.users[i].sip).copied().unwrap_or(0);
        if right.or(owners.first().copied()).is_some_and(|i| tries(&wrong, i) >= PIN_TRIES) {
            entry.refusal = Some("the PIN is locked".to_owned());
            return faulted(99002, "The PIN is locked.");
        }
        let Some(user) = right else {
            for i in owners {
                *wrong.entry(self.users[i].sip.clone()).or_default() += 1;
            }
            entry.refusal = Some("wrong number or PIN".to_owned());
            return faulted(99001, "The number or the PIN is wrong.");
        };
        wrong.remove(&self.users[user].sip);
        drop(wrong);
        self.ticket(user, call, entry)
    }

    /// A ticket for a user who has proven to be one.
    fn ticket(&self, index: usize, call: &Call, entry: &mut Request) -> Answer {
        let user = &self.users[index];
        entry.user = Some(user.sip.clone());
        if !user.sip_enabled || self.faults().not_sip_enabled.contains(&user.sip) {
            entry.refusal = Some("not SIP enabled".to_owned());
            return diagnosed(403, 28000, "User is not SIP enabled.");
        }
        if action(call) != Some("http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue") {
            return self.malformed(entry, "the SOAPAction is not RST/Issue");
        }
        let Some(document) = soap::parse(&call.body) else { return self.malformed(entry, "not a SOAP envelope") };
        let request = match TicketRequest::read(&document) {
            Ok(request) => request,
            Err(why) => return self.malformed(entry, why),
        };
        if request.claim.is_some_and(|claim| !user.is_entity(claim)) {
            return self.refuse(entry, "the claim is another user's", Answer::xml(500, web_ticket::claim_fault()));
        }
        let (now, spelling) = {
            let faults = self.faults();
            (now(&faults), spelling(&faults))
        };
        let times = (now, now + self.settings.ticket_life);
        let (id, ticket, answer) = web_ticket::issue(&request, (index, user), times, &spelling);
        locked(&self.tickets).insert(id, ticket);
        self.count(|counters| counters.tickets += 1);
        Answer::xml(200, answer)
    }

    fn publish(&self, call: &Call, entry: &mut Request) -> Option<Answer> {
        let Some(document) = soap::parse(&call.body) else { return Some(self.malformed(entry, "not a SOAP envelope")) };
        if action(call) != Some("http://schemas.microsoft.com/OCS/AuthWebServices/GetAndPublishCert") {
            return Some(self.malformed(entry, "the SOAPAction is not GetAndPublishCert"));
        }
        if self.settings.cookie_demanded && entry.cookie.is_none() {
            return Some(self.refuse(entry, "no load balancer cookie", faulted(28020, "No valid security token.")));
        }
        if strikes(&mut self.faults().ticket_invalid) {
            return Some(self.refuse(entry, "switched to invalid", faulted(28032, "The web ticket is invalid.")));
        }
        let now = now(&self.faults());
        let own = format!("{}{}", self.origin(call), super::PUBLISH);
        let ticket = publish::ticket(&document, &locked(&self.tickets), &own, now).cloned();
        let ticket = match ticket {
            Ok(ticket) => ticket,
            Err(TicketError::Missing) => {
                return Some(self.refuse(entry, "no ticket", faulted(28020, "No valid security token.")));
            }
            Err(TicketError::Invalid(why)) => {
                return Some(self.refuse(entry, why, faulted(28032, "The web ticket is invalid.")));
            }
            Err(TicketError::Expired) => {
                return Some(self.refuse(entry, "the ticket has ended", faulted(99007, "The web ticket has expired.")));
            }
        };
        let user = &self.users[ticket.user];
        entry.user = Some(user.sip.clone());
        entry.credential = Some(Credential::Ticket);
        let request = match PublishRequest::read(&document) {
            Ok(request) => request,
            Err(why) => return Some(self.malformed(entry, why)),
        };
        match self.issue(&request, user, now) {
            Ok(answer) if strikes(&mut self.faults().answer_lost) => {
                drop(answer);
                None
            }
            Ok(answer) => Some(Answer::xml(200, answer)),
            Err((id, why)) => {
                let answer = (spelling(&self.faults()).respell)(request.error(id, &why));
                Some(self.refuse(entry, &why, Answer::xml(200, answer)))
            }
        }
    }

    /// Makes the certificate, and then publishes it: the second can fail where the first did not.
    fn issue(&self, request: &PublishRequest<'_>, user: &User, now: OffsetDateTime) -> Result<String, (u32, String)> {
        if !user.is_entity(request.entity) {
            return Err((99005, "The Entity does not match the ticket.".to_owned()));
        }
        let bits = self.settings.min_key_bits..=self.settings.max_key_bits;
        let mut public_key = publish::public_key(&request.signing_request, bits).map_err(|error| match error {
            RequestError::Malformed(why) => (99003, format!("The signing request is malformed: {why}.")),
            RequestError::KeySize(bits) => (99004, format!("The key size of {bits} bits is out of range.")),
        })?;
        let (fault, pkcs7, respell) = {
            let faults = self.faults();
            (faults.certificate, faults.pkcs7, spelling(&faults).respell)
        };
        let (mut name, mut from, mut until) =
            (user.sip.as_str(), now - Duration::minutes(5), now + self.settings.validity);
        match fault {
            CertificateFault::None => {}
            CertificateFault::AnotherKey => public_key = another_public_key(),
            CertificateFault::AnotherUser => name = "mallory@contoso.example",
            CertificateFault::Expired => {
                (from, until) = (now - Duration::hours(2), now - Duration::hours(1));
            }
        }
        let certificate = self.pki.users().issue(name, &public_key, from, until);
        let certificate = certificate.map_err(|error| (99003, format!("No certificate can be made: {error}.")))?;
        if strikes(&mut self.faults().store_unavailable) {
            return Err((99006, "Data store unavailable.".to_owned()));
        }
        let answer = request.answer(&certificate, pkcs7.then(|| self.pki.users().certificate_der()));
        self.store.publish(Published {
            user: user.sip.clone(),
            device: request.device,
            certificate,
            published: now,
            expires: until,
        });
        self.count(|counters| counters.certificates += 1);
        Ok(respell(answer))
    }

    fn refuse(&self, entry: &mut Request, why: &str, answer: Answer) -> Answer {
        entry.refusal = Some(why.to_owned());
        answer
    }

    /// What WCF says about a message that it cannot read.
    fn malformed(&self, entry: &mut Request, why: &str) -> Answer {
        let fault = soap::plain_fault(soap::SOAP, "Client", "The message could not be processed.");
        self.refuse(entry, why, Answer::xml(500, fault))
    }
}

/// A SOAP fault with diagnostics, in the body and in the header.
fn faulted(id: u32, reason: &str) -> Answer {
    let body = soap::diagnostics_fault("FailedAuthentication", id, reason);
    Answer::xml(500, body).with("x-ms-diagnostics", diagnostics(id, reason))
}

/// Diagnostics in the header alone, as Windows authentication has them ([MS-OCAUTHWS] 3.2.4.1).
fn diagnosed(status: u16, id: u32, reason: &str) -> Answer {
    Answer::empty(status).with("x-ms-diagnostics", diagnostics(id, reason))
}

fn diagnostics(id: u32, reason: &str) -> String {
    format!("{id};source=\"{SERVER}\";reason=\"{reason}\";faultcode=\"wsse:FailedAuthentication\"")
}

fn action(call: &Call) -> Option<&str> {
    call.action.as_deref().map(|action| action.trim_matches('"'))
}

fn affinity(cookies: &str) -> Option<&str> {
    cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix(AFFINITY)?.strip_prefix('='))
}

fn now(faults: &Faults) -> OffsetDateTime {
    OffsetDateTime::now_utc() + faults.clock_offset
}

fn spelling(faults: &Faults) -> Spelling {
    if !faults.other_prefixes {
        return Spelling { hoisted: false, respell: |xml| xml };
    }
    let respell = |xml: String| {
        let prefixes =
            ["s", "wsu", "trust", "saml", "wsp", "wsa", "wsa10", "wsdl", "soap", "sp", "wst", "wsse", "wstep"];
        prefixes.iter().fold(xml, |xml, prefix| {
            xml.replace(&format!("<{prefix}:"), &format!("<{prefix}-2:"))
                .replace(&format!("</{prefix}:"), &format!("</{prefix}-2:"))
                .replace(&format!("xmlns:{prefix}="), &format!("xmlns:{prefix}-2="))
                .replace(&format!(" {prefix}:Id="), &format!(" {prefix}-2:Id="))
        })
    };
    Spelling { hoisted: true, respell }
}

fn another_public_key() -> Vec<u8> {
    use rcgen::PublicKeyData as _;
    let pkcs8 = Keys::recycled().take(KeyKind::Rsa2048);
    let der = PrivatePkcs8KeyDer::from(pkcs8.as_slice());
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256);
    key.expect("the lab's own key can be read").subject_public_key_info()
}

fn http_date(time: OffsetDateTime) -> String {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    time.to_offset(time::UtcOffset::UTC).format(&format).expect("a UTC time can be written")
}

fn shown(pki: &Pki, faults: &ServerFaults, issuer_url: &str) -> io::Result<Shown> {
    let identity = pki.server(faults, issuer_url);
    let chain = identity.presented.into_iter().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.to_vec()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(io::Error::other)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Shown { tls: Arc::new(tls), issuing: identity.issuing.into() })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
