//! The port of certificate provisioning: the order of its checks, and what each failure is called.

use super::answer::{Answer, Call, faulted, malformed, refuse, troubled};
use super::faults::{CertificateFault, strikes};
use super::front_end::{Ailment, FrontEnd, Illness};
use super::publish::{self, PublishRequest, RequestError, TicketError};
use super::record::{Credential, Request};
use super::service::{Service, locked};
use super::soap;
use super::store::{AlreadyPublished, Asked, Published};
use super::trouble::{Route, Trouble};
use super::users::User;
use crate::credential::{Fingerprint, KeyKind};
use crate::lab::keys::Keys;
use rustls::pki_types::PrivatePkcs8KeyDer;
use time::{Duration, OffsetDateTime};

impl Service {
    /// The answer, or `None` when it gets lost.
    pub(super) fn publish(&self, call: &Call, entry: &mut Request) -> Option<Answer> {
        match self.certify(call, entry) {
            Ok(_) if strikes(&mut self.faults().answer_lost) => None,
            Ok(answer) => Some(Answer::xml(200, answer)),
            Err(answer) => Some(answer),
        }
    }

    fn certify(&self, call: &Call, entry: &mut Request) -> Result<String, Answer> {
        let document = soap::parse(&call.body).ok_or_else(|| malformed(entry, "not a SOAP envelope"))?;
        if call.action() != Some("http://schemas.microsoft.com/OCS/AuthWebServices/GetAndPublishCert") {
            return Err(malformed(entry, "the SOAPAction is not GetAndPublishCert"));
        }
        let refused = self.faults().refused;
        if let Some((route, id)) = refused {
            let reason = "LAB: refused on purpose.".to_owned();
            let trouble = Trouble { status: 403, id, reason, route, device_and_entity: None };
            return Err(refuse(entry, "switched to refuse", troubled(trouble)));
        }
        if self.settings().cookie_demanded && entry.cookie.is_none() {
            return Err(refuse(entry, "no load balancer cookie", faulted(28020, "No valid security token.")));
        }
        if strikes(&mut self.faults().ticket_invalid) {
            return Err(refuse(entry, "switched to invalid", faulted(28032, "The web ticket is invalid.")));
        }
        if strikes(&mut self.faults().ticket_expired) {
            return Err(refuse(entry, "switched to expired", faulted(99007, "The web ticket has expired.")));
        }
        let now = self.faults().now();
        let own = format!("{}{}", self.origin(call), super::PUBLISH);
        let ticket = publish::ticket(&document, &locked(&self.tickets), &own, now);
        let (ticket, ticket_id) = ticket.map_err(|error| match error {
            TicketError::Missing => refuse(entry, "no ticket", faulted(28020, "No valid security token.")),
            TicketError::Invalid(why) => refuse(entry, why, faulted(28032, "The web ticket is invalid.")),
            TicketError::Expired => {
                refuse(entry, "the ticket has ended", faulted(99007, "The web ticket has expired."))
            }
        })?;
        if let Some(message) = publish::message_id(&document)
            && !self.is_new(&ticket_id, message)
        {
            return Err(refuse(entry, "a message that came before", faulted(28032, "The web ticket is invalid.")));
        }
        if ticket.issued_by != entry.server && self.ails(entry.server, Ailment::Tickets) {
            return Err(refuse(entry, "another front end's ticket", faulted(28020, "No valid security token.")));
        }
        let user = &self.users[ticket.user];
        entry.user = Some(user.sip.clone());
        entry.credential = Some(Credential::Ticket);
        let request = PublishRequest::read(&document).map_err(|why| malformed(entry, why))?;
        let store_ails = self.ails(entry.server, Ailment::Store);
        self.issue(&request, user, now, store_ails).map_err(|(id, reason)| {
            entry.refusal = Some(reason.clone());
            let device_and_entity = Some(request.device_and_entity());
            troubled(Trouble { status: 200, id, reason, route: Route::ErrorInfo, device_and_entity })
        })
    }

    fn ails(&self, server: FrontEnd, what: Ailment) -> bool {
        self.faults().ill == Some(Illness { server, what })
    }

    /// Makes the certificate, and then publishes it: the second can fail where the first did not.
    fn issue(
        &self,
        request: &PublishRequest<'_>,
        user: &User,
        now: OffsetDateTime,
        store_ails: bool,
    ) -> Result<String, (u32, String)> {
        let settings = self.settings().clone();
        if strikes(&mut self.faults().entity_mismatch) || !user.is_entity(request.entity) {
            return Err((99005, "The Entity does not match the ticket.".to_owned()));
        }
        let bits = settings.min_key_bits..=settings.max_key_bits;
        let mut public_key = publish::public_key(&request.signing_request, bits).map_err(|error| match error {
            RequestError::Malformed(why) => (99003, format!("The signing request is malformed: {why}.")),
            RequestError::KeySize(bits) => (99004, format!("The key size of {bits} bits is out of range.")),
        })?;
        let (fault, pkcs7) = {
            let faults = self.faults();
            (faults.certificate, faults.pkcs7)
        };
        let (mut name, mut from, mut until) = (user.sip.as_str(), now - Duration::minutes(5), now + settings.validity);
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
        if store_ails || self.faults().store_is_down() {
            return Err((99006, "Data store unavailable.".to_owned()));
        }
        let asked =
            Asked { request: Fingerprint::of(&request.signing_request), id: request.request_id.map(str::to_owned) };
        let published =
            Published { user: user.sip.clone(), device: request.device, certificate, published: now, expires: until };
        let made = published.certificate.clone();
        let certificate = self
            .store
            .publish(published, asked)
            .map_err(|AlreadyPublished| (99008, "A certificate is already published for this device.".to_owned()))?;
        if certificate == made {
            self.count(|counters| counters.certificates += 1);
        }
        Ok(request.answer(&certificate, pkcs7.then(|| self.pki.users().certificate_der())))
    }
}

fn another_public_key() -> Vec<u8> {
    use rcgen::PublicKeyData as _;
    let pkcs8 = Keys::recycled().take(KeyKind::Rsa2048);
    let der = PrivatePkcs8KeyDer::from(pkcs8.as_slice());
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256);
    key.expect("the lab's own key can be read").subject_public_key_info()
}
