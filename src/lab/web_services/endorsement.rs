//! A web ticket by a certificate of before: [MS-OCAUTHWS] 3.2, "OCS-signed certificate".
//!
//! The header is what WCF makes for an endorsing X.509 token over transport security: inferred, not public. The port takes
//! a certificate only where the store has it.

use super::answer::{Answer, Call, faulted, malformed, refuse};
use super::faults::Suite;
use super::proof::{Endorsed, Window};
use super::publish::message_id;
use super::record::{Credential, Request};
use super::service::Service;
use super::soap::{self, SOAP, WSSE, at};
use crate::credential::Fingerprint;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// `MaxClockSkew` of WCF.
const SKEW: Duration = Duration::minutes(5);

impl Service {
    pub(super) fn certificate_ticket(&self, call: &Call, entry: &mut Request) -> Answer {
        let Some(document) = soap::parse(&call.body) else { return malformed(entry, "not a SOAP envelope") };
        let security = at(document.root_element(), &[(SOAP, "Header"), (WSSE, "Security")]);
        let endorsed = security.ok_or("no Security header").and_then(|security| Endorsed::read(&document, security));
        let endorsed = endorsed.and_then(|endorsed| {
            let sha256 = self.settings().suite == Suite::Basic256Sha256;
            let key = rsa_key(&endorsed.certificate).ok_or("no certificate with an RSA key")?;
            endorsed.verify(&key, sha256)?;
            self.is_timely(endorsed.window())?;
            match message_id(&document) {
                Some(id) if self.is_new(&Fingerprint::of(&endorsed.certificate).to_string(), id) => Ok(endorsed),
                Some(_) => Err("a message that came before"),
                None => Err("no MessageID"),
            }
        });
        let endorsed = match endorsed {
            Ok(endorsed) => endorsed,
            Err(why) => return refuse(entry, why, faulted(28020, "No valid security token.")),
        };
        entry.credential = Some(Credential::Certificate);
        let Some(published) = self.store.find(Fingerprint::of(&endorsed.certificate)) else {
            // LAB: its number is not public.
            return refuse(entry, "not in the store", faulted(99011, "The certificate is not published."));
        };
        entry.user = Some(published.user.clone());
        if published.expires <= self.faults().now() {
            return refuse(entry, "the certificate has ended", faulted(99012, "The certificate has expired."));
        }
        match self.users.iter().position(|user| user.sip == published.user) {
            Some(user) => self.ticket(user, call, entry),
            None => refuse(entry, "no such user", faulted(28020, "No valid security token.")),
        }
    }

    fn is_timely(&self, window: Window<'_>) -> Result<(), &'static str> {
        let time = |text| OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "a time in the Timestamp is malformed");
        let (created, expires, now) = (time(window.created)?, time(window.expires)?, self.faults().now());
        if expires <= created {
            return Err("the Timestamp ends before it begins");
        }
        if now < created.saturating_sub(SKEW) {
            return Err("the Timestamp begins in the future");
        }
        if expires.saturating_add(SKEW) <= now {
            return Err("the Timestamp has ended");
        }
        Ok(())
    }
}

/// The RSAPublicKey of a certificate, DER.
fn rsa_key(certificate: &[u8]) -> Option<Vec<u8>> {
    let (rest, certificate) = X509Certificate::from_der(certificate).ok()?;
    let key = certificate.public_key();
    let rsa = matches!(key.parsed(), Ok(PublicKey::RSA(_)));
    (rsa && rest.is_empty()).then(|| key.subject_public_key.data.to_vec())
}
