//! What answers say: challenges, the 200 of a registration, refusals with `ms-diagnostics`, and what a signed-in client of
//! the era needs to hear to stay.

use super::OwnNames;
use super::association::Association;
use super::faults::Faults;
use super::gruu::{gruu, instance};
use super::record::{Proof, Registration};
use super::service::{Conversation, Service};
use super::signature::{Hash, Party, hex};
use crate::credential::SipAddress;
use crate::lab::keys::random;
use crate::lab::locked;
use crate::lab::web_services::answer::http_date;
use crate::registrar::challenge::{Authentication, Place, REALM, Scheme};
use crate::registrar::message::Message;
use time::Duration;

/// What the server calls itself: Skype for Business 2015, as far as clients care.
const SERVER: &str = "RTC/6.0";

/// Set-CsRegistrarConfiguration's defaults, seconds.
const DEFAULT_EXPIRES: u32 = 600;
const LEAST_EXPIRES: u32 = 300;
const MOST_EXPIRES: u32 = 900;

/// What clients may subscribe to (published trace).
const EVENTS: &str = "vnd-microsoft-provisioning,vnd-microsoft-roaming-contacts,vnd-microsoft-roaming-ACL,presence,\
                      presence.wpending,vnd-microsoft-roaming-self,vnd-microsoft-provisioning-v2";
const METHODS: &str =
    "REGISTER, SUBSCRIBE, NOTIFY, BENOTIFY, SERVICE, OPTIONS, INFO, MESSAGE, INVITE, ACK, CANCEL, BYE";

/// A request, and who answers it.
pub(super) struct Frame<'a> {
    pub(super) request: &'a Message,
    pub(super) conversation: &'a Conversation,
    /// The server's name.
    pub(super) target: &'a str,
}

impl Frame<'_> {
    /// An answer with what every answer repeats (RFC 3261 section 8.2.6).
    pub(super) fn answer(&self, status: u16, reason: &str) -> Message {
        let mut answer = Message::response(status, reason);
        for (number, via) in self.request.headers.all("Via").enumerate() {
            let (port, connection) = (self.conversation.peer.port(), self.conversation.number);
            match number {
                0 => {
                    let received = format!("{via};ms-received-port={port};ms-received-cid={connection:X}");
                    answer.headers.push("Via", &received);
                }
                _ => answer.headers.push("Via", via),
            }
        }
        let header = |name| self.request.header(name).unwrap_or_default();
        answer.headers.push("From", header("From"));
        let to = header("To");
        let tagged = match Party::read(to).tag {
            "" => format!("{to};tag={}", hex(&random::<16>())),
            _ => to.to_owned(),
        };
        answer.headers.push("To", &tagged);
        answer.headers.push("Call-ID", header("Call-ID"));
        answer.headers.push("CSeq", header("CSeq"));
        answer.with("Server", SERVER)
    }

    /// With the reason for people and for clients ([MS-OCER] section 2.2.1).
    fn refusal(&self, (status, reason): (u16, &str), header: &str, id: u32, why: &str) -> Message {
        let diagnostics = format!("{id};reason=\"{why}\";source=\"{}\"", self.target);
        self.answer(status, reason).with(header, &diagnostics)
    }
}

/// 401, or as a proxy 407: what may be used to sign in.
pub(super) fn challenge(frame: &Frame<'_>, faults: &Faults, names: &OwnNames) -> Message {
    let version = if faults.version_3 { 3 } else { 4 };
    let target = frame.target;
    let offer = |scheme: Scheme, target: &str| {
        Authentication::new(scheme.name()).with("realm", REALM).with("targetname", target).with_bare("version", version)
    };
    let mut offers = Vec::new();
    if !faults.no_ntlm {
        offers.push(offer(Scheme::Ntlm, target));
    }
    if faults.kerberos_offered {
        offers.push(offer(Scheme::Kerberos, &format!("sip/{target}")));
    }
    if !faults.no_tls_dsk {
        offers.push(offer(Scheme::TlsDsk, target).with("sts-uri", &names.sts_uri));
    }
    let (place, answer) = asking(frame, faults);
    offers.iter().fold(answer, |answer, offer| answer.with(place.challenge_header(), &offer.to_string()))
}

/// The server's next message of a handshake, in a 401 too.
pub(super) fn next_leg(frame: &Frame<'_>, faults: &Faults, association: &Association, data: &[u8]) -> Message {
    let leg = Authentication::new(association.scheme.name())
        .with("opaque", &association.opaque)
        .with_data(data)
        .with("targetname", frame.target)
        .with("realm", REALM)
        .with_bare("version", association.version);
    let (place, answer) = asking(frame, faults);
    answer.with(place.challenge_header(), &leg.to_string())
}

fn asking(frame: &Frame<'_>, faults: &Faults) -> (Place, Message) {
    let (place, status, reason) = match faults.as_proxy {
        true => (Place::Proxy, 407, "Proxy Authentication Required"),
        false => (Place::Server, 401, "Unauthorized"),
    };
    (place, frame.answer(status, reason).with("Date", &http_date(faults.now())))
}

/// A challenge that says that a handshake came to nothing ([MS-OCER] section 8.2; that a real registrar says so here is not
/// known). What exactly was wrong is for the record, but for a clock.
pub(super) fn with_failed_handshake(challenge: Message, frame: &Frame<'_>, why: &str) -> Message {
    let (id, reason) = match why {
        "the clocks are too far apart" => (1013, "Significant time skew detected during authentication"),
        _ => (1000, "Final handshake failed"),
    };
    challenge.with("ms-diagnostics", &format!("{id};reason=\"{reason}\";source=\"{}\"", frame.target))
}

/// [MS-SIP] section 3.1.5.1: without one there is no telling endpoints apart.
pub(super) fn no_epid(frame: &Frame<'_>) -> Message {
    frame.refusal((400, "Bad Request"), "ms-diagnostics", 4011, "Epid not present")
}

pub(super) fn not_that_user(frame: &Frame<'_>) -> Message {
    let why = "Credentials provided are not authorized to act as specified from URI";
    frame.refusal((403, "Forbidden"), "ms-diagnostics-public", 4004, why)
}

/// LAB: the number.
pub(super) fn user_disabled(frame: &Frame<'_>) -> Message {
    frame.refusal((403, "Forbidden"), "ms-diagnostics", 99020, "User is disabled")
}

pub(super) fn user_not_found(frame: &Frame<'_>) -> Message {
    let why = "Destination URI either not enabled for SIP or does not exist";
    frame.refusal((404, "Not Found"), "ms-diagnostics", 4005, why)
}

/// LAB: the number.
pub(super) fn unavailable(frame: &Frame<'_>) -> Message {
    let why = "The registrar is not available";
    frame.refusal((503, "Service Unavailable"), "ms-diagnostics", 99021, why).with("Retry-After", "60")
}

pub(super) fn timed_out(frame: &Frame<'_>) -> Message {
    frame.refusal((504, "Server time-out"), "ms-diagnostics", 1007, "Temporarily cannot route")
}

/// The user is at home elsewhere (observed: reason, form of the Contact, Expires).
pub(super) fn homed_elsewhere(frame: &Frame<'_>, names: &OwnNames) -> Message {
    let home = format!("<sip:{}:{};transport=tls>", names.reachable, names.home_port);
    let answer = frame.answer(301, "Redirect request to Home Server");
    answer.with("Contact", &home).with("Expires", "2592000")
}

/// What is asked once signed in, beside REGISTER: the answers that keep a client of the era content. There is nobody else in
/// this lab, so calls and messages find nobody.
pub(super) fn served(frame: &Frame<'_>, method: &str, names: &OwnNames) -> Message {
    let contact = format!("<sip:{}:{};transport=tls>", names.reachable, names.port);
    match method {
        "SUBSCRIBE" => {
            let asked = frame.request.header("Expires").unwrap_or("3600");
            let answer = frame.answer(200, "OK").with("Contact", &contact).with("Expires", asked);
            match frame.request.header("Event") {
                Some(event) => answer.with("Event", event),
                None => answer,
            }
        }
        "OPTIONS" => {
            frame.answer(200, "OK").with("Contact", &contact).with("Allow", METHODS).with("Allow-Events", EVENTS)
        }
        "SERVICE" | "PUBLISH" | "NOTIFY" | "BENOTIFY" | "INFO" => frame.answer(200, "OK"),
        "INVITE" | "MESSAGE" | "REFER" => frame.answer(480, "Temporarily Unavailable"),
        "BYE" | "UPDATE" | "PRACK" => frame.answer(481, "Call Leg/Transaction Does Not Exist"),
        _ => frame.answer(405, "Method Not Allowed").with("Allow", METHODS),
    }
}

impl Service {
    /// Registers, or ends a registration.
    pub(super) fn registered(
        &self,
        frame: &Frame<'_>,
        (user, epid, proof, hash): (SipAddress, &str, Proof, Option<Hash>),
    ) -> Message {
        let faults = self.faults().clone();
        let contact = frame.request.header("Contact").unwrap_or_default();
        let (uri, parameters) =
            contact.split_once('<').and_then(|(_, rest)| rest.split_once('>')).unwrap_or((contact, ""));
        let of_contact = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("expires="));
        let asked = frame.request.header("Expires").or(of_contact).and_then(|asked| asked.trim().parse::<u32>().ok());
        let answer = frame.answer(200, "OK");
        let mut registrations = locked(&self.registrations);
        let ends = asked == Some(0);
        let all = ends && contact == "*";
        registrations.retain(|own| own.user != user || !all && own.epid != epid);
        if ends {
            return answer.with("Expires", "0");
        }
        let expires = match (faults.expires, asked) {
            (Some(granted), _) => granted,
            (None, Some(asked)) => asked.clamp(LEAST_EXPIRES, MOST_EXPIRES),
            (None, None) => DEFAULT_EXPIRES,
        };
        let instance = instance(contact);
        let gruu = instance.map(|instance| gruu(&user.uri(), instance));
        let registration = Registration {
            user,
            epid: epid.to_owned(),
            contact: uri.to_owned(),
            gruu: gruu.clone(),
            proof,
            hash,
            user_agent: frame.request.header("User-Agent").unwrap_or_default().to_owned(),
            until: faults.now() + Duration::seconds(expires.into()),
        };
        registrations.push(registration.clone());
        drop(registrations);
        // Nobody has to listen.
        let _ = self.news.send(registration);
        let mut bound = format!("<{uri};ms-received-cid={:X}>;expires={expires}", frame.conversation.number);
        if let (Some(instance), Some(gruu)) = (instance, gruu) {
            bound = format!("{bound};+sip.instance=\"<urn:uuid:{instance}>\";gruu=\"{gruu}\"");
        }
        let answer = answer
            .with("ms-keep-alive", "UAS; tcp=no; hop-hop=yes; end-end=no; timeout=300")
            .with("Contact", &bound)
            .with("presence-state", "register-action=\"added\"")
            .with("Allow-Events", EVENTS)
            .with("Supported", "adhoclist")
            .with("Supported", "msrtc-event-categories")
            .with("Supported", "ms-keepalive-deregister")
            .with("Supported", "ms-userservices-state-notification");
        match faults.no_expires {
            true => answer,
            false => answer.with("Expires", &expires.to_string()),
        }
    }
}
