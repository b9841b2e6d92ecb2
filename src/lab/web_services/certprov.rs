//! The port of certificate provisioning: the order of its checks, and what each failure is called.

use super::answer::{Answer, Call, faulted, malformed, refuse};
use super::faults::{CertificateFault, strikes};
use super::publish::{self, PublishRequest, RequestError, TicketError};
use super::record::{Credential, Request};
use super::service::{Service, locked};
use super::soap;
use super::store::Published;
use super::users::User;
use crate::credential::KeyKind;
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
        if self.settings.cookie_demanded && entry.cookie.is_none() {
            return Err(refuse(entry, "no load balancer cookie", faulted(28020, "No valid security token.")));
        }
        if strikes(&mut self.faults().ticket_invalid) {
            return Err(refuse(entry, "switched to invalid", faulted(28032, "The web ticket is invalid.")));
        }
        let now = self.faults().now();
        let own = format!("{}{}", self.origin(call), super::PUBLISH);
        let ticket = publish::ticket(&document, &locked(&self.tickets), &own, now).cloned();
        let ticket = ticket.map_err(|error| match error {
            TicketError::Missing => refuse(entry, "no ticket", faulted(28020, "No valid security token.")),
            TicketError::Invalid(why) => refuse(entry, why, faulted(28032, "The web ticket is invalid.")),
            TicketError::Expired => {
                refuse(entry, "the ticket has ended", faulted(99007, "The web ticket has expired."))
            }
        })?;
        let user = &self.users[ticket.user];
        entry.user = Some(user.sip.clone());
        entry.credential = Some(Credential::Ticket);
        let request = PublishRequest::read(&document).map_err(|why| malformed(entry, why))?;
        self.issue(&request, user, now)
            .map_err(|(id, why)| refuse(entry, &why, Answer::xml(200, request.error(id, &why))))
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
        let (fault, pkcs7) = {
            let faults = self.faults();
            (faults.certificate, faults.pkcs7)
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
        Ok(answer)
    }
}

fn another_public_key() -> Vec<u8> {
    use rcgen::PublicKeyData as _;
    let pkcs8 = Keys::recycled().take(KeyKind::Rsa2048);
    let der = PrivatePkcs8KeyDer::from(pkcs8.as_slice());
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256);
    key.expect("the lab's own key can be read").subject_public_key_info()
}
