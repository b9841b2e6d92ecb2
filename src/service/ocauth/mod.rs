//! The Web Services of Lync and Skype for Business ([MS-OCAUTHWS]): discovery by metadata, web ticket, get-and-publish.
//!
//! A [`Pool`] is shared; an [`OcAuth`] is one user's enrolment with connections and cookies of its own. Cold it costs two
//! requests for metadata, then two with a PIN (ticket, publish) or four with NTLM (three for the ticket). HTTP redirects
//! are not followed: a credential goes where the metadata says, or nowhere.

mod collecting;
#[cfg(test)]
mod collecting_tests;
pub mod commands;
mod diagnostics;
mod endorsement;
mod error;
mod http;
mod metadata;
mod names;
#[cfg(test)]
mod peer;
mod pool;
mod profile;
mod publish;
mod refused;
mod root_chains;
mod sign_in;
mod signed_text;
mod survey;
#[cfg(test)]
mod tests;
mod ticket;
mod xml;

pub use collecting::{Collected, DownloadPlace, RootDownload};
pub use diagnostics::{Correlation, Diagnosis, Meaning, Route};
pub use endorsement::{Endorsement, EndorsementAlgorithm, EndorsementTerms};
pub use error::{ErrorClass, Moved, ServiceError, Step};
pub use pool::{Pool, PoolError, Settings};
pub use profile::{Encoding, PinProfile, Profile, ProfileError, RootChainsProfile};
pub use refused::RefusedCredentials;
pub use root_chains::DownloadError;
pub use signed_text::{SignatureMethod, signed_info, timestamp};
pub use ticket::WebTicket;
pub use xml::BadMessage;

use super::server_trust::ServerFound;
use super::{Enrolment, Publication, Published, SignIn, SignInWay, Survey, Ticket};
use crate::credential::{KeyKind, SipAddress};
use http::{Answer, Ask, Lines, Repeat};
use refused::Mark;
use time::OffsetDateTime;
use url::Url;

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
    fn key_kinds(&self) -> &[KeyKind] {
        &[KeyKind::Rsa2048, KeyKind::Rsa3072]
    }

    async fn survey(&mut self) -> Result<Survey, ServiceError> {
        let known = self.known().await?;
        let url = self.pool.certprov_url();
        let port = url.port_or_known_default().unwrap_or(443);
        let web = ServerFound::trusted(self.pool.server_name(), port, known.chain.clone());
        let (also, download) = self.pool.collecting().beside(&web, url, &self.pool.connector()).await;
        Ok(Survey {
            host: self.pool.server_name().to_owned(),
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

    async fn endorsement_terms(&mut self, user: &SipAddress) -> Result<EndorsementTerms, ServiceError> {
        self.belongs_to(user)?;
        sign_in::endorsement_terms(self, user).await
    }

    async fn sign_in(&mut self, user: &SipAddress, with: &SignIn) -> Result<Ticket, ServiceError> {
        self.belongs_to(user)?;
        sign_in::sign_in(self, user, with).await
    }

    async fn sign_in_host(&mut self, user: &SipAddress, way: SignInWay) -> Result<String, ServiceError> {
        sign_in::host(self, user, way).await
    }

    fn clock_offset_seconds(&self) -> Option<i64> {
        self.pool.clock_offset_seconds()
    }

    fn leave_server(&mut self) {
        self.lines.start_afresh();
        self.credential = None;
    }

    async fn publish(&mut self, ticket: &Ticket, publication: &Publication) -> Result<Published, ServiceError> {
        self.belongs_to(&publication.user)?;
        if ticket.user != publication.user {
            return Err(ServiceError::OtherUser { first: ticket.user.clone(), second: publication.user.clone() });
        }
        let key = publish::requested_key(&publication.signing_request)
            .map_err(|problem| ServiceError::BadSigningRequest { problem })?;
        if ticket.expires <= self.service_now().saturating_add(TICKET_MARGIN) {
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
        let host = host_of(&known.certprov.location);
        let unknown = |source| ServiceError::OutcomeUnknown { host: host.clone(), source: Box::new(source) };
        let answer = self.lines.ask(ask).await.map_err(|unanswered| match unanswered.may_have_arrived {
            true => unknown(unanswered.error),
            false => unanswered.error,
        })?;
        self.pool.note_clock(answer.clock_offset);
        if answer.status != 200 {
            let diagnosis = self.diagnosis(&answer);
            if let Some(redirected) = redirected(&answer, &host, Step::Publish) {
                return Err(redirected);
            }
            // A gateway's bare 5xx says nothing about what the server behind it did.
            let silent = diagnosis.route == Route::Status && answer.status >= 500;
            let error = refused_publication(diagnosis);
            return Err(if silent { unknown(error) } else { error });
        }
        let profile = self.pool.reading();
        let read = answer.text().and_then(|text| publish::read(&text, &profile));
        match read {
            Ok(publish::Answer::Issued { certificate, accompanying }) => match publish::misfit(&certificate, &key) {
                None => Ok(Published { certificate, accompanying, server: answer.server() }),
                Some(problem) => Err(ServiceError::UnfitCertificate { host, problem }),
            },
            Ok(publish::Answer::Refused(said)) => {
                let diagnosis = Diagnosis::new(said, &answer, &profile, self.user.as_ref());
                Err(refused_publication(Box::new(diagnosis)))
            }
            Err(source) => match Diagnosis::of_body(&answer, &profile, self.user.as_ref()) {
                Some(diagnosis) => Err(refused_publication(Box::new(diagnosis))),
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

    /// The service's clock, as far as it is known.
    fn service_now(&self) -> OffsetDateTime {
        let offset = self.pool.clock_offset_seconds().unwrap_or(0);
        OffsetDateTime::now_utc().saturating_add(time::Duration::seconds(offset))
    }

    /// Why an answer is a refusal.
    fn diagnosis(&self, answer: &Answer) -> Box<Diagnosis> {
        Box::new(Diagnosis::of(answer, &self.pool.reading(), self.user.as_ref()))
    }
}

fn refused_publication(diagnosis: Box<Diagnosis>) -> ServiceError {
    match diagnosis.meaning() {
        Meaning::TicketInvalid => ServiceError::TicketRefused { diagnosis: Some(diagnosis) },
        _ => ServiceError::Refused { step: Step::Publish, diagnosis },
    }
}

/// A redirection, which is not followed: a credential goes where the metadata says, or nowhere.
fn redirected(answer: &Answer, host: &str, step: Step) -> Option<ServiceError> {
    if !(300..400).contains(&answer.status) {
        return None;
    }
    let location = answer.headers("location").next().map(|location| {
        let host = Url::parse(&location).ok().and_then(|url| url.host_str().map(str::to_owned));
        host.unwrap_or_else(|| diagnostics::one_line(&location))
    });
    Some(ServiceError::Redirected { host: host.to_owned(), step, status: answer.status, location })
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}
