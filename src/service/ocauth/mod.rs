//! The Web Services of Lync and Skype for Business ([MS-OCAUTHWS]): discovery by metadata, web ticket, get-and-publish.
//!
//! A [`Pool`] is shared; an [`OcAuth`] is one user's enrolment with connections and cookies of its own. Cold it costs two
//! requests for metadata, then two with a PIN (ticket, publish) or four with NTLM (three for the ticket). HTTP redirects
//! are not followed: a credential goes where the metadata says, or nowhere.

mod collecting;
#[cfg(test)]
mod collecting_tests;
mod diagnostics;
mod endorsement;
mod error;
mod http;
#[cfg(test)]
mod lab_tests;
mod metadata;
mod names;
mod ntlm;
#[cfg(test)]
mod peer;
mod pool;
mod proof;
mod publish;
mod refused;
mod root_chains;
#[cfg(test)]
mod tests;
mod ticket;
mod xml;

pub use collecting::{Collected, RootDownload};
pub use diagnostics::{Diagnosis, Meaning, Route};
pub use endorsement::{Endorsement, EndorsementAlgorithm, EndorsementTerms};
pub use error::{ErrorClass, ServiceError, Step};
pub use pool::{PinProfile, Pool, PoolError, Settings};
pub use refused::RefusedCredentials;
pub use root_chains::{DownloadError, RootChainsProfile};
pub use ticket::WebTicket;
pub use xml::BadMessage;

use super::server_trust::ServerFound;
use super::{Enrolment, Publication, Published, SignIn, SignInWay, Survey, Ticket};
use crate::credential::{KeyKind, SipAddress};
use http::{Answer, Ask, Lines, Repeat};
use metadata::{MetadataError, Port};
use pool::Known;
use refused::Mark;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Instant;
use ticket::{Asker, Entropy, Issued};
use time::OffsetDateTime;
use url::Url;
use zeroize::Zeroizing;

/// A ticket is not used in its last minute: it could end on the way.
const TICKET_MARGIN: time::Duration = time::Duration::seconds(60);

/// One user's enrolment at one pool.
pub struct OcAuth {
    pool: Pool,
    lines: Lines,
    user: Option<SipAddress>,
    /// The credential that the streams are signed in with.
    credential: Option<Mark>,
}

/// What an enrolment has cost so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// HTTPS requests that were answered.
    pub requests: u64,
    /// TLS connections, failed ones included.
    pub connections: u64,
    /// Bytes received, TLS included.
    pub received: u64,
    /// Bytes sent, TLS included.
    pub sent: u64,
}

impl Enrolment for OcAuth {
    fn key_kinds(&self) -> &'static [KeyKind] {
        &[KeyKind::Rsa2048, KeyKind::Rsa3072]
    }

    async fn survey(&mut self) -> Result<Survey, ServiceError> {
        let known = self.known().await?;
        let url = self.pool.certprov_url();
        let port = url.port_or_known_default().unwrap_or(443);
        let web = ServerFound::trusted(self.pool.host(), port, known.chain.clone());
        let (also, download) = self.pool.collecting().beside(&web, url, &self.pool.connector()).await;
        Ok(Survey {
            host: self.pool.host().to_owned(),
            port,
            presented: known.chain.presented.clone(),
            completed: known.chain.completed.clone(),
            clock_offset_seconds: self.pool.clock_offset_seconds(),
            sign_in_ports: known.ports.iter().map(|port| port.name.clone()).collect(),
            named_root: self.pool.collecting().named_root(&web),
            also,
            download,
        })
    }

    async fn endorsement_terms(&mut self, _user: &SipAddress) -> Result<EndorsementTerms, ServiceError> {
        Err(ServiceError::NotBuilt { way: "certificate authentication" })
    }

    async fn sign_in(&mut self, user: &SipAddress, with: &SignIn) -> Result<Ticket, ServiceError> {
        self.belongs_to(user)?;
        if matches!(with, SignIn::Pin { .. }) && self.pool.pin_profile() != PinProfile::Lab {
            return Err(ServiceError::PinProfileNotAllowed);
        }
        let mark = match with {
            SignIn::Ntlm { login, password } => self.pool.refused().mark("ntlm", login, password),
            SignIn::Pin { number, pin } => self.pool.refused().mark("pin", &ticket::normal_number(number), pin),
            SignIn::Negotiate { .. } => return Err(ServiceError::NotBuilt { way: "Negotiate authentication" }),
            SignIn::Certificate(_) => return Err(ServiceError::NotBuilt { way: "certificate authentication" }),
            SignIn::Basic { .. } => return Err(ServiceError::NotBuilt { way: "Basic authentication" }),
        };
        if self.pool.refused().contains(&mark) {
            return Err(ServiceError::RefusedBefore);
        }
        let known = self.known().await?;
        self.pool.may_receive(&known.certprov.location, user)?;
        let refused = self.pool.refused().clone();
        let _turn = refused.turn(&mark).await;
        if refused.contains(&mark) {
            return Err(ServiceError::RefusedBefore);
        }
        // To the server a connection stays whom it was first signed in as, whatever login comes later.
        if self.credential.replace(mark.clone()).is_some_and(|before| before != mark) {
            self.lines.start_afresh();
        }
        let result = match with {
            SignIn::Ntlm { login, password } => self.ticket_by_ntlm(&known, user, login, password).await,
            SignIn::Pin { number, pin } => self.ticket_by_pin(&known, user, number, pin).await,
            SignIn::Negotiate { .. } | SignIn::Certificate(_) | SignIn::Basic { .. } => {
                unreachable!("it has no mark")
            }
        };
        if matches!(result, Err(ServiceError::CredentialRefused { .. })) {
            refused.remember(mark);
        }
        let issued = result?;
        match &issued.name {
            Some(name) if !fits(name, user, with) => {
                Err(ServiceError::NotThisUser { expected: user.clone(), named: diagnostics::one_line(name) })
            }
            None if matches!(with, SignIn::Pin { .. }) => Err(ServiceError::BadAnswer {
                host: self.pool.host().to_owned(),
                step: Step::Ticket,
                source: BadMessage::Missing("SIP address of the user"),
            }),
            Some(_) | None => Ok(Ticket { user: user.clone(), expires: issued.expires, ocauth: issued.ticket }),
        }
    }

    async fn sign_in_host(&mut self, user: &SipAddress, way: SignInWay) -> Result<String, ServiceError> {
        let known = self.known().await?;
        if way == SignInWay::Pin && self.pool.pin_profile() != PinProfile::Lab {
            return Err(ServiceError::PinProfileNotAllowed);
        }
        let port = sign_in_port(&known, way)?;
        self.pool.may_receive(&known.certprov.location, user)?;
        self.pool.may_receive(&port.location, user)?;
        Ok(port.location.host_str().unwrap_or_default().to_owned())
    }

    fn clock_offset_seconds(&self) -> Option<i64> {
        self.pool.clock_offset_seconds()
    }

    async fn publish(&mut self, ticket: &Ticket, publication: &Publication) -> Result<Published, ServiceError> {
        self.belongs_to(&publication.user)?;
        if ticket.user != publication.user {
            return Err(ServiceError::OtherUser { first: ticket.user.clone(), second: publication.user.clone() });
        }
        let key = publish::requested_key(&publication.signing_request)
            .map_err(|problem| ServiceError::BadSigningRequest { problem })?;
        let service_now = OffsetDateTime::now_utc()
            .saturating_add(time::Duration::seconds(self.pool.clock_offset_seconds().unwrap_or(0)));
        if ticket.expires <= service_now.saturating_add(TICKET_MARGIN) {
            return Err(ServiceError::TicketRefused { diagnosis: None });
        }
        let known = self.known().await?;
        self.pool.may_receive(&known.certprov.location, &publication.user)?;
        self.user = Some(publication.user.clone());
        let message = publish::request(&ticket.ocauth, &known.certprov.location_text, publication)
            .map_err(|error| ServiceError::BadSigningRequest { problem: error.to_string() })?;
        let ask = Ask {
            step: Step::Publish,
            url: known.certprov.location.clone(),
            soap: Some((names::ACTION_PUBLISH, message)),
            authorization: None,
            repeat: Repeat::IfUnsent,
        };
        let host = known.certprov.location.host_str().unwrap_or_default().to_owned();
        let unknown = |source| ServiceError::OutcomeUnknown { host: host.clone(), source: Box::new(source) };
        let answer = self.lines.ask(ask).await.map_err(|unanswered| match unanswered.may_have_arrived {
            true => unknown(unanswered.error),
            false => unanswered.error,
        })?;
        self.pool.note_clock(answer.clock_offset);
        if answer.status != 200 {
            let diagnosis = diagnosis(&answer);
            // A gateway's bare 5xx says nothing about what the server behind it did.
            let silent = diagnosis.route == Route::Status && answer.status >= 500;
            let error = refused_publication(diagnosis);
            return Err(if silent { unknown(error) } else { error });
        }
        match publish::read(&answer.body) {
            Ok(publish::Answer::Issued { certificate, accompanying }) => match publish::misfit(&certificate, &key) {
                None => Ok(Published { certificate, accompanying, server: answer.server() }),
                Some(problem) => Err(ServiceError::UnfitCertificate { host, problem }),
            },
            Ok(publish::Answer::Refused(mut diagnosis)) => {
                diagnosis.server = diagnosis.server.or_else(|| answer.server());
                Err(refused_publication(diagnosis))
            }
            Err(source) => match diagnostics::from_body(&answer.body, answer.status) {
                Some(diagnosis) => Err(refused_publication(diagnosis)),
                None => Err(unknown(ServiceError::BadAnswer { host: host.clone(), step: Step::Publish, source })),
            },
        }
    }
}

impl OcAuth {
    pub(super) fn new(pool: Pool) -> Self {
        let lines = Lines::new(pool.connector());
        Self { pool, lines, user: None, credential: None }
    }

    /// What it has cost so far.
    pub fn cost(&self) -> Cost {
        let traffic = self.lines.traffic();
        Cost {
            requests: self.lines.requests(),
            connections: traffic.connections(),
            received: traffic.received(),
            sent: traffic.sent(),
        }
    }

    fn belongs_to(&self, user: &SipAddress) -> Result<(), ServiceError> {
        match &self.user {
            Some(first) if first != user => Err(ServiceError::OtherUser { first: first.clone(), second: user.clone() }),
            Some(_) | None => Ok(()),
        }
    }

    /// What the services say about themselves, from the pool's memory or by two GETs.
    async fn known(&mut self) -> Result<Arc<Known>, ServiceError> {
        if let Some(known) = self.pool.known() {
            return Ok(known);
        }
        let url = self.pool.certprov_url().clone();
        let answer = self.mex(&url).await?;
        let certprov = metadata::certprov(&answer.body).map_err(|error| metadata_error(&url, error))?;
        let answer = self.mex(&certprov.issuer).await?;
        let ports = metadata::web_ticket(&answer.body).map_err(|error| metadata_error(&certprov.issuer, error))?;
        let chain = self.lines.chain(&url).cloned().expect("an answer came from this server");
        Ok(self.pool.learn(Known { certprov, ports, chain, read_at: Instant::now() }))
    }

    async fn mex(&mut self, service: &Url) -> Result<Answer, ServiceError> {
        let mut url = service.clone();
        url.set_path(&format!("{}/mex", service.path().trim_end_matches('/')));
        let ask = Ask { step: Step::Metadata, url, soap: None, authorization: None, repeat: Repeat::Freely };
        let answer = self.lines.ask(ask).await.map_err(|unanswered| unanswered.error)?;
        self.pool.note_clock(answer.clock_offset);
        if answer.status == 404 {
            return Err(ServiceError::NothingThere { url: service.to_string() });
        }
        if answer.status != 200 {
            return Err(ServiceError::Refused { step: Step::Metadata, diagnosis: diagnosis(&answer) });
        }
        Ok(answer)
    }

    async fn ticket_by_ntlm(
        &mut self,
        known: &Known,
        user: &SipAddress,
        login: &str,
        password: &SecretString,
    ) -> Result<Issued, ServiceError> {
        let port = sign_in_port(known, SignInWay::Ntlm)?;
        self.pool.may_receive(&port.location, user)?;
        let host = port.location.host_str().unwrap_or_default().to_owned();
        let mut handshake = ntlm::Handshake::new(login, password, &host)?;
        self.user = Some(user.clone());

        let entropy = Entropy::new();
        let message = ticket::request(&Asker::Windows(user), &known.certprov.location_text, &entropy)
            .map_err(|_| ServiceError::BadLogin { login: login.escape_default().to_string() })?;
        // The first request learns which schemes there are. A connection that is signed in already gets its ticket by it.
        let mut answer = self.ask_ticket(port, message.clone(), None, Repeat::Freely).await?;
        if answer.status == 401 {
            let not_offered = || ServiceError::NotOffered {
                host: host.clone(),
                way: "NTLM authentication",
                port: names::PORT_WINDOWS,
            };
            let scheme = ntlm::scheme(&offered(&answer)).ok_or_else(not_offered)?;
            let garbled = |error: sspi::Error| ServiceError::BadAnswer {
                host: host.clone(),
                step: Step::Ticket,
                source: BadMessage::BadValue { what: "NTLM challenge", problem: format!("{:?}", error.error_type) },
            };
            let first = bearer(scheme, handshake.next(None).map_err(garbled)?);
            answer = self.ask_ticket(port, message.clone(), Some(first), Repeat::Freely).await?;
            let challenge = match (answer.status, ntlm::challenge(scheme, &offered(&answer))) {
                (401, Some(challenge)) => challenge,
                (401, None) => return Err(not_offered()),
                _ => return Err(ServiceError::Refused { step: Step::Ticket, diagnosis: diagnosis(&answer) }),
            };
            let third = bearer(scheme, handshake.next(Some(challenge)).map_err(garbled)?);
            answer = self.ask_ticket(port, message, Some(third), Repeat::Never).await?;
            if answer.status == 401 {
                let said = Some(diagnosis(&answer)).filter(|d| d.route != Route::Status);
                let login = login.escape_default().to_string();
                return Err(ServiceError::CredentialRefused { host, login, diagnosis: said });
            }
        }
        read_ticket(&answer, &host, &entropy, known)
    }

    async fn ticket_by_pin(
        &mut self,
        known: &Known,
        user: &SipAddress,
        number: &str,
        pin: &SecretString,
    ) -> Result<Issued, ServiceError> {
        let port = sign_in_port(known, SignInWay::Pin)?;
        self.pool.may_receive(&port.location, user)?;
        let host = port.location.host_str().unwrap_or_default().to_owned();
        let entropy = Entropy::new();
        let message = ticket::request(&Asker::LabPin { number, pin }, &known.certprov.location_text, &entropy)
            .map_err(|_| ServiceError::BadLogin { login: number.escape_default().to_string() })?;
        self.user = Some(user.clone());
        let answer = self.ask_ticket(port, message, None, Repeat::IfUnsent).await?;
        if answer.status != 200 {
            let said = diagnosis(&answer);
            // Rather one try too few: a wrong PIN sent again and again locks the user out.
            let wrong = matches!(said.meaning(), Meaning::PinWrong | Meaning::PinLocked | Meaning::TicketInvalid)
                || answer.status == 401;
            if wrong {
                let login = number.escape_default().to_string();
                return Err(ServiceError::CredentialRefused { host, login, diagnosis: Some(said) });
            }
        }
        read_ticket(&answer, &host, &entropy, known)
    }

    async fn ask_ticket(
        &mut self,
        port: &Port,
        message: Zeroizing<Vec<u8>>,
        authorization: Option<Zeroizing<String>>,
        repeat: Repeat,
    ) -> Result<Answer, ServiceError> {
        let soap = Some((names::ACTION_ISSUE, message));
        let ask = Ask { step: Step::Ticket, url: port.location.clone(), soap, authorization, repeat };
        let answer = self.lines.ask(ask).await.map_err(|unanswered| unanswered.error)?;
        self.pool.note_clock(answer.clock_offset);
        Ok(answer)
    }
}

/// Whether the name in a ticket is the user's. By NTLM the claim has settled that, and a real assertion may name the
/// account in another way; by PIN the name is the only word on who it is.
fn fits(name: &str, user: &SipAddress, with: &SignIn) -> bool {
    let is_sip = name.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sip:"));
    match with {
        SignIn::Ntlm { .. } if !is_sip => true,
        _ => name.parse::<SipAddress>().as_ref() == Ok(user),
    }
}

fn sign_in_port(known: &Known, way: SignInWay) -> Result<&Port, ServiceError> {
    let (wanted, way): (&[&'static str], _) = match way {
        SignInWay::Ntlm => (&[names::PORT_WINDOWS, names::PORT_NTLM], "NTLM authentication"),
        SignInWay::Pin => (&[names::PORT_PIN], "PIN authentication"),
        SignInWay::Negotiate => return Err(ServiceError::NotBuilt { way: "Negotiate authentication" }),
        SignInWay::Certificate => return Err(ServiceError::NotBuilt { way: "certificate authentication" }),
        SignInWay::Basic => return Err(ServiceError::NotBuilt { way: "Basic authentication" }),
    };
    let find = |name: &&'static str| known.ports.iter().find(|port| port.name.eq_ignore_ascii_case(name));
    wanted.iter().find_map(find).ok_or_else(|| ServiceError::NotOffered {
        host: known.certprov.issuer.host_str().unwrap_or_default().to_owned(),
        way,
        port: wanted.first().copied().unwrap_or_default(),
    })
}

fn read_ticket(answer: &Answer, host: &str, entropy: &Entropy, known: &Known) -> Result<Issued, ServiceError> {
    if answer.status != 200 {
        return Err(ServiceError::Refused { step: Step::Ticket, diagnosis: diagnosis(answer) });
    }
    ticket::read(&answer.body, entropy, known.certprov.usage).map_err(|source| {
        match diagnostics::from_body(&answer.body, answer.status) {
            Some(diagnosis) => ServiceError::Refused { step: Step::Ticket, diagnosis },
            None => ServiceError::BadAnswer { host: host.to_owned(), step: Step::Ticket, source },
        }
    })
}

fn refused_publication(diagnosis: Diagnosis) -> ServiceError {
    match diagnosis.meaning() {
        Meaning::TicketInvalid => ServiceError::TicketRefused { diagnosis: Some(diagnosis) },
        _ => ServiceError::Refused { step: Step::Publish, diagnosis },
    }
}

fn diagnosis(answer: &Answer) -> Diagnosis {
    diagnostics::diagnose(answer.status, answer.header("x-ms-diagnostics"), &answer.body, answer.server())
}

fn metadata_error(url: &Url, error: MetadataError) -> ServiceError {
    let host = url.host_str().unwrap_or_default().to_owned();
    match error {
        MetadataError::Bad(source) => ServiceError::BadAnswer { host, step: Step::Metadata, source },
        MetadataError::NoPort(port) => {
            ServiceError::NotOffered { host, way: "certificate provisioning with a web ticket", port }
        }
        MetadataError::Insecure(address) => ServiceError::InsecureAddress { host, address },
    }
}

fn offered(answer: &Answer) -> Vec<String> {
    let values = answer.headers.get_all(hyper::header::WWW_AUTHENTICATE);
    values.iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
}

fn bearer(scheme: &str, token: String) -> Zeroizing<String> {
    Zeroizing::new(format!("{scheme} {}", Zeroizing::new(token).as_str()))
}
