//! Which answer a message gets: challenge, handshake, or service for who is believed.

use super::answers::{self, Frame};
use super::association::{Association, Distrust, Stage};
use super::faults::{Faults, InnerFault, Refusal};
use super::record::{Registration, Request};
use super::signature::Party;
use super::tunnel::Kit;
use super::{Options, OwnNames};
use crate::credential::SipAddress;
use crate::lab::locked;
use crate::lab::pki::{Pki, ServerFaults};
use crate::lab::web_services::{FrontEnd, LabTls, Store, User, strikes, tls::Acceptor};
use crate::registrar::challenge::{Authentication, Place, REALM, Scheme};
use crate::registrar::message::Message;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::broadcast;

/// Associations that one connection may have; the oldest goes when there is one more.
const MOST_ASSOCIATIONS: usize = 16;

/// The registrar and what it knows.
pub(super) struct Service {
    pki: Arc<Pki>,
    pub(super) users: Vec<User>,
    pub(super) store: Store,
    pub(super) names: OwnNames,
    issuer_url: String,
    tls: LabTls,
    faults: Mutex<Faults>,
    shown: Mutex<Shown>,
    pub(super) registrations: Mutex<Vec<Registration>>,
    requests: Mutex<Vec<Request>>,
    pub(super) news: broadcast::Sender<Registration>,
}

/// What is presented, as the faults of the chain have it.
struct Shown {
    faults: ServerFaults,
    outer: Acceptor,
    /// The tunnelled handshake's, by what is wrong with it.
    inner: [Kit; 3],
}

/// One connection, as the registrar remembers it.
pub(super) struct Conversation {
    pub(super) number: u64,
    pub(super) server: FrontEnd,
    /// Whether it came to the port where users are at home when they are not at the other.
    pub(super) at_home: bool,
    pub(super) peer: SocketAddr,
    pub(super) associations: Vec<Association>,
    answered: u32,
}

/// What a request came with.
pub(super) struct Credentials {
    pub(super) place: Place,
    pub(super) scheme: Scheme,
    pub(super) given: Authentication,
}

/// What becomes of a request.
pub(super) enum Outcome {
    Answer(Message),
    /// An answer with the server's signature, by the association of this name.
    Signed(Message, String),
    /// It is dropped.
    Nothing,
}

impl Conversation {
    pub(super) fn new(number: u64, server: FrontEnd, at_home: bool, peer: SocketAddr) -> Self {
        Self { number, server, at_home, peer, associations: Vec::new(), answered: 0 }
    }

    /// The association that a request names.
    pub(super) fn association(&mut self, epid: &str, credentials: &Credentials) -> Option<&mut Association> {
        let opaque = credentials.given.get("opaque")?;
        let mut all = self.associations.iter_mut();
        all.find(|own| own.opaque.eq_ignore_ascii_case(opaque) && own.epid == epid && own.scheme == credentials.scheme)
    }

    pub(super) fn remember(&mut self, association: Association) {
        if self.associations.len() == MOST_ASSOCIATIONS {
            self.associations.remove(0);
        }
        self.associations.push(association);
    }

    pub(super) fn forget(&mut self, opaque: &str) {
        self.associations.retain(|own| own.opaque != opaque);
    }
}

impl Credentials {
    /// Those of a request that are for this registrar. The proxy's form counts too.
    fn of(request: &Message) -> Option<Self> {
        [Place::Server, Place::Proxy].into_iter().find_map(|place| {
            let all = Authentication::read_all(&request.headers, place.credentials_header()).ok()?;
            all.into_iter().find_map(|given| {
                let scheme = given.scheme().filter(|_| given.get("realm") == Some(REALM))?;
                Some(Self { place, scheme, given })
            })
        })
    }
}

impl Service {
    pub(super) fn new(options: Options, names: OwnNames) -> io::Result<Self> {
        let shown = shown(&options.pki, options.tls, &names, &options.server_faults, &options.issuer_url)?;
        Ok(Self {
            pki: options.pki,
            users: options.users,
            store: options.store,
            names,
            issuer_url: options.issuer_url,
            tls: options.tls,
            faults: Mutex::default(),
            shown: Mutex::new(shown),
            registrations: Mutex::default(),
            requests: Mutex::default(),
            news: broadcast::channel(64).0,
        })
    }

    pub(super) fn present(&self, faults: &ServerFaults) -> io::Result<()> {
        let shown = shown(&self.pki, self.tls, &self.names, faults, &self.issuer_url)?;
        *locked(&self.shown) = shown;
        Ok(())
    }

    pub(super) fn presented(&self) -> ServerFaults {
        locked(&self.shown).faults.clone()
    }

    pub(super) fn outer(&self) -> Acceptor {
        locked(&self.shown).outer.clone()
    }

    pub(super) fn inner(&self, fault: InnerFault) -> Kit {
        locked(&self.shown).inner[fault as usize].clone()
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        locked(&self.faults)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        locked(&self.requests).clone()
    }

    /// The answer to a message of one connection; none for a response, and where the sender is left alone.
    pub(super) fn answer(&self, conversation: &mut Conversation, message: &Message) -> Option<Message> {
        let method = message.method()?;
        let credentials = Credentials::of(message);
        let mut entry = Request {
            connection: conversation.number,
            server: conversation.server,
            method: method.to_owned(),
            from: Party::read(message.header("From").unwrap_or_default()).uri.parse().ok(),
            scheme: credentials.as_ref().map(|it| it.scheme.name()),
            signed: credentials.as_ref().is_some_and(|it| it.given.get("response").is_some()),
            status: None,
            answer_signed: false,
            refusal: None,
        };
        let hangs = self.faults().hangs_after.is_some_and(|after| conversation.answered >= after);
        let outcome = match hangs {
            true => Outcome::Nothing,
            false => self.outcome(conversation, message, credentials.as_ref(), &mut entry),
        };
        let place = credentials.as_ref().map_or(Place::Server, |credentials| credentials.place);
        let answer = match outcome {
            Outcome::Nothing => None,
            Outcome::Answer(answer) => Some(answer),
            Outcome::Signed(answer, opaque) => Some(self.signed(conversation, answer, &opaque, place, &mut entry)),
        };
        entry.status = answer.as_ref().and_then(Message::status);
        conversation.answered += u32::from(answer.is_some());
        locked(&self.requests).push(entry);
        answer
    }

    fn outcome(
        &self,
        conversation: &mut Conversation,
        request: &Message,
        credentials: Option<&Credentials>,
        entry: &mut Request,
    ) -> Outcome {
        // Neither has an answer, so neither can be challenged ([MS-SIPAE] section 3.3.5.1).
        if ["ACK", "CANCEL"].contains(&entry.method.as_str()) {
            return Outcome::Nothing;
        }
        let frame = Frame { request, conversation, target: self.names.target(conversation.server) };
        let refusal = self.faults().refusal;
        match refusal {
            Some(Refusal::Everything) => return Outcome::Answer(frame.answer(403, "Forbidden")),
            Some(Refusal::Unavailable) => return Outcome::Answer(answers::unavailable(&frame)),
            Some(Refusal::TimedOut) => return Outcome::Answer(answers::timed_out(&frame)),
            Some(Refusal::UserDisabled | Refusal::UserNotFound) | None => {}
        }
        let epid = Party::read(request.header("From").unwrap_or_default()).epid.to_owned();
        let Some(credentials) = credentials else {
            return Outcome::Answer(self.challenged(&frame, entry, "no credentials"));
        };
        let has_data = credentials.given.get("gssapi-data").is_some();
        let stage = conversation.association(&epid, credentials).map(|association| &mut association.stage);
        match stage {
            Some(Stage::Established(_)) if !has_data => self.serve(conversation, request, credentials, &epid, entry),
            Some(Stage::Tunnel(_) | Stage::Challenged(_)) if has_data => {
                self.go_on(conversation, request, credentials, &epid, entry)
            }
            None if has_data && credentials.given.get("opaque").is_none() => {
                self.begin(conversation, request, credentials, &epid, entry)
            }
            found => {
                let why = if found.is_some() { "not the association's next message" } else { "no such association" };
                let frame = Frame { request, conversation, target: self.names.target(conversation.server) };
                Outcome::Answer(self.challenged(&frame, entry, why))
            }
        }
    }

    /// Serves whoever signs rightly: nothing else of the message is believed before.
    fn serve(
        &self,
        conversation: &mut Conversation,
        request: &Message,
        credentials: &Credentials,
        epid: &str,
        entry: &mut Request,
    ) -> Outcome {
        let now = self.faults().now();
        let mut doubt = None;
        let mut opaque = String::new();
        if let Some(association) = conversation.association(epid, credentials)
            && let Stage::Established(established) = &mut association.stage
        {
            opaque.clone_from(&association.opaque);
            if established.until <= now {
                doubt = Some("the association has ended");
            } else if established.served && strikes(&mut self.faults().association_dropped) {
                doubt = Some("the association was dropped on purpose");
            } else if credentials.given.get("response").is_none() && established.owes_unsigned {
                established.owes_unsigned = false;
            } else {
                established.owes_unsigned = false;
                match established.believe(request, &credentials.given) {
                    Ok(()) => {}
                    Err(Distrust::Replayed) => {
                        entry.refusal = Some("a number that came before".to_owned());
                        return Outcome::Nothing;
                    }
                    Err(Distrust::Wrong(why)) => doubt = Some(why),
                }
            }
        }
        if let Some(why) = doubt {
            conversation.forget(&opaque);
            let frame = Frame { request, conversation, target: self.names.target(conversation.server) };
            return Outcome::Answer(self.challenged(&frame, entry, why));
        }
        self.served(conversation, request, credentials, epid, entry)
    }

    /// A request that is believed, from the user of its association.
    pub(super) fn served(
        &self,
        conversation: &mut Conversation,
        request: &Message,
        credentials: &Credentials,
        epid: &str,
        entry: &mut Request,
    ) -> Outcome {
        let Some(association) = conversation.association(epid, credentials) else { return Outcome::Nothing };
        let Stage::Established(established) = &mut association.stage else { return Outcome::Nothing };
        established.served = true;
        let (user, proof, hash) = (established.user.clone(), established.proof.clone(), established.hash());
        let opaque = association.opaque.clone();
        let frame = Frame { request, conversation, target: self.names.target(conversation.server) };
        let from: Option<SipAddress> = Party::read(request.header("From").unwrap_or_default()).uri.parse().ok();
        if from.as_ref() != Some(&user) {
            entry.refusal = Some("From is another user".to_owned());
            return Outcome::Signed(answers::not_that_user(&frame), opaque);
        }
        let (refusal, elsewhere) = {
            let faults = self.faults();
            (faults.refusal, faults.homed_elsewhere && !conversation.at_home)
        };
        let answer = match (request.method().unwrap_or_default(), refusal) {
            ("REGISTER", Some(Refusal::UserDisabled)) => answers::user_disabled(&frame),
            ("REGISTER", Some(Refusal::UserNotFound)) => answers::user_not_found(&frame),
            ("REGISTER", _) if elsewhere => answers::homed_elsewhere(&frame, &self.names),
            ("REGISTER", _) => self.registered(&frame, (user, epid, proof, hash)),
            (method, _) => answers::served(&frame, method, &self.names),
        };
        Outcome::Signed(answer, opaque)
    }

    /// With the server's signature, or without where a fault wants it so.
    fn signed(
        &self,
        conversation: &mut Conversation,
        answer: Message,
        opaque: &str,
        place: Place,
        entry: &mut Request,
    ) -> Message {
        let (fault, target) = (self.faults().signature, self.names.target(conversation.server).to_owned());
        let found = conversation.associations.iter_mut().find(|own| own.opaque == opaque);
        let Some(Association { scheme, opaque, version, stage: Stage::Established(established), .. }) = found else {
            return answer;
        };
        let answer = established.sign(answer, (*scheme, opaque, *version), &target, place, fault);
        entry.answer_signed = answer.header(place.info_header()).is_some();
        answer
    }

    /// A fresh challenge, with the true reason in the record.
    pub(super) fn challenged(&self, frame: &Frame<'_>, entry: &mut Request, why: &str) -> Message {
        entry.refusal = Some(why.to_owned());
        answers::challenge(frame, &self.faults(), &self.names)
    }
}

fn shown(pki: &Pki, tls: LabTls, names: &OwnNames, faults: &ServerFaults, issuer_url: &str) -> io::Result<Shown> {
    let names = names.of_certificate();
    let identity = |faults: &ServerFaults| pki.server_called(&names, faults, issuer_url);
    let sound = identity(faults);
    let inner = [
        Kit::new(tls, &sound)?,
        Kit::new(tls, &identity(&ServerFaults { wrong_name: true, ..faults.clone() }))?,
        Kit::new(tls, &identity(&ServerFaults { unknown_root: true, ..faults.clone() }))?,
    ];
    Ok(Shown { faults: faults.clone(), outer: Acceptor::new(tls, &sound, &[])?, inner })
}
