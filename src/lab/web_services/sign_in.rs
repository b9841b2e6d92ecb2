//! The web ticket service's ports: who may sign in, and how often one may be wrong.

use super::answer::{Answer, Call, diagnosed, faulted, malformed, refuse};
use super::faults::{Settings, WindowsAuth, strikes};
use super::ntlm::{Handshake, Rules, Step};
use super::record::{Credential, Request};
use super::service::{Connection, Service, locked};
use super::soap;
use super::web_ticket::{self, TicketRequest};
use crate::credential::SipAddress;
use secrecy::SecretString;
use std::collections::HashMap;
use zeroize::Zeroizing;

/// Wrong PINs until it is locked, for all that a lab lives. A real pool counts 10 of 4 digits, 25 of more, in an hour.
const PIN_TRIES: u32 = 10;

/// Name and password of a Basic header (RFC 7617).
fn basic(authorization: &str) -> Option<(String, SecretString)> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Basic").then_some(())?;
    let text = Zeroizing::new(String::from_utf8(soap::unbase64(token)?).ok()?);
    let (login, password) = text.split_once(':')?;
    Some((login.to_owned(), password.into()))
}

impl Service {
    pub(super) fn windows_at(&self, path: &str) -> bool {
        match self.settings().windows {
            WindowsAuth::Negotiate | WindowsAuth::OnlyNtlmOffered => path.eq_ignore_ascii_case(super::STS),
            WindowsAuth::NtlmPort => path.eq_ignore_ascii_case(super::STS_NTLM),
            WindowsAuth::Off => false,
        }
    }

    /// One leg of the handshake; `None` to hang up.
    pub(super) fn ntlm_ticket(&self, connection: &Connection, call: &Call, entry: &mut Request) -> Option<Answer> {
        let settings = self.settings().clone();
        if let Some(header) = call.authorization.as_deref().and_then(|header| basic(header).filter(|_| settings.basic))
        {
            return Some(self.basic_ticket(&header, call, entry));
        }
        let mut handshake = locked(&connection.handshake);
        let mut last = None;
        let user = match (&call.authorization, &*handshake) {
            (None, Handshake::Done(user)) => *user,
            (None, _) => return Some(self.unauthorised()),
            (Some(_), Handshake::Challenged(..)) if strikes(&mut self.faults().ntlm_moved) => {
                *handshake = Handshake::Idle;
                entry.server = entry.server.other();
                return Some(refuse(entry, "moved to another front end", self.unauthorised()));
            }
            (Some(header), _) => match handshake.step(header, &self.rules(&settings, connection)) {
                Step::Challenge(_) if strikes(&mut self.faults().ntlm_hang_up) => return None,
                Step::Challenge(token) => return Some(Answer::empty(401).with("www-authenticate", token)),
                Step::Welcome(user, token) => {
                    entry.credential = Some(Credential::Ntlm);
                    last = token;
                    user
                }
                Step::Refused(user, why) => {
                    entry.user = user.map(|user| self.users[user].sip.clone());
                    entry.credential = user.map(|_| Credential::Ntlm);
                    return Some(refuse(entry, why, self.unauthorised()));
                }
            },
        };
        if strikes(&mut self.faults().password_refused) {
            *handshake = Handshake::Idle;
            entry.user = Some(self.users[user].sip.clone());
            return Some(refuse(entry, "switched to wrong", self.unauthorised()));
        }
        drop(handshake);
        let internal = "Internal error while processing Integrated Windows authentication or authorization.";
        if strikes(&mut self.faults().sign_in_broken) {
            entry.user = Some(self.users[user].sip.clone());
            return Some(diagnosed(500, 28001, internal));
        }
        let answer = self.ticket(user, call, entry);
        Some(match last {
            Some(token) => answer.with("www-authenticate", token),
            None => answer,
        })
    }

    fn rules<'a>(&'a self, settings: &Settings, connection: &'a Connection) -> Rules<'a> {
        Rules {
            users: &self.users,
            negotiate: settings.negotiate,
            channel_binding: settings.channel_binding,
            binding: &connection.end_point,
        }
    }

    /// A ticket for name and password as they are. Nothing of it stays with the connection.
    fn basic_ticket(&self, (login, password): &(String, SecretString), call: &Call, entry: &mut Request) -> Answer {
        let (domain, name) = login.split_once('\\').unwrap_or(("", login));
        let user = self.users.iter().position(|user| user.is_account(domain, name));
        let Some(user) = user else { return refuse(entry, "no such user", self.unauthorised()) };
        entry.user = Some(self.users[user].sip.clone());
        entry.credential = Some(Credential::Basic);
        if !self.users[user].has_password(password) || strikes(&mut self.faults().password_refused) {
            return refuse(entry, "wrong password", self.unauthorised());
        }
        self.ticket(user, call, entry)
    }

    fn unauthorised(&self) -> Answer {
        let settings = self.settings();
        let schemes: &[&str] = match (settings.windows, settings.basic) {
            (WindowsAuth::Negotiate, false) => &["Negotiate", "NTLM"],
            (WindowsAuth::Negotiate, true) => &["Negotiate", "NTLM", "Basic realm=\"contoso.example\""],
            (_, false) => &["NTLM"],
            (_, true) => &["NTLM", "Basic realm=\"contoso.example\""],
        };
        schemes.iter().fold(Answer::empty(401), |answer, scheme| answer.with("www-authenticate", *scheme))
    }

    pub(super) fn pin_ticket(&self, call: &Call, entry: &mut Request) -> Answer {
        let Some(document) = soap::parse(&call.body) else { return malformed(entry, "not a SOAP envelope") };
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
        if right.or(owners.first().copied()).is_some_and(|i| tries(&wrong, i) >= PIN_TRIES) || self.faults().pin_locked
        {
            entry.refusal = Some("the PIN is locked".to_owned());
            return faulted(99002, "The PIN is locked.");
        }
        let right = right.filter(|_| !strikes(&mut self.faults().pin_refused));
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
    pub(super) fn ticket(&self, index: usize, call: &Call, entry: &mut Request) -> Answer {
        let user = &self.users[index];
        entry.user = Some(user.sip.clone());
        if !user.sip_enabled || self.faults().not_sip_enabled.contains(&user.sip) {
            entry.refusal = Some("not SIP enabled".to_owned());
            return diagnosed(403, 28000, "User is not SIP enabled.");
        }
        if call.action() != Some("http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue") {
            return malformed(entry, "the SOAPAction is not RST/Issue");
        }
        let Some(document) = soap::parse(&call.body) else { return malformed(entry, "not a SOAP envelope") };
        let request = match TicketRequest::read(&document) {
            Ok(request) => request,
            Err(why) => return malformed(entry, why),
        };
        if request.claim.is_some_and(|claim| !user.is_entity(claim)) {
            return refuse(entry, "the claim is another user's", Answer::xml(500, web_ticket::claim_fault()));
        }
        let (now, spelling) = {
            let faults = self.faults();
            (faults.now(), faults.spelling())
        };
        let times = (now, now + self.settings().ticket_life);
        let (id, ticket, answer) = web_ticket::issue(&request, (index, user), entry.server, times, &spelling);
        locked(&self.tickets).insert(id, ticket);
        self.count(|counters| counters.tickets += 1);
        Answer::xml(200, answer)
    }
}
