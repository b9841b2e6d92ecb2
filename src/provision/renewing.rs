//! Renewal without a password: the phone signs in for itself, with the key of the certificate that it holds.

use super::event::Stage;
use super::meeting::{Met, belongs_to};
use super::planning::{Planned, date};
use super::story::Story;
use super::{Operator, ProvisionError};
use crate::credential::KeyKind;
use crate::ledger;
use crate::phone::{Consent, Driver, Endorsing};
use crate::service::{Enrolment, SignIn, SignInWay};
use time::OffsetDateTime;

impl<O: Operator> Story<'_, O> {
    /// Whether the phone signs in for itself.
    pub(super) fn signs_for_itself(&self) -> bool {
        self.job.sign_in == SignInWay::Certificate
    }

    /// Why this phone cannot sign in for this user itself, by its own word: before anybody is asked for consent.
    pub(super) fn refuse_who_cannot_sign(&self, met: &Met, now: OffsetDateTime) -> Result<(), ProvisionError> {
        let not_renewable = |why: String| Err(ProvisionError::NotRenewable { why });
        if !met.identity.abilities.endorses {
            return not_renewable("it does not sign ticket requests".into());
        }
        let Some(in_use) = &met.state.identity else { return not_renewable("it holds no identity".into()) };
        if !belongs_to(&in_use.user, &self.job.user) {
            return not_renewable(format!("it holds the identity of {}", in_use.user));
        }
        match in_use.key {
            Some(KeyKind::Rsa2048 | KeyKind::Rsa3072) => {}
            Some(KeyKind::P256) => {
                return not_renewable("the service wants an RSA key for it, and its key is P-256".into());
            }
            None => return not_renewable("it does not tell the kind of its key".into()),
        }
        if !(in_use.not_before..in_use.not_after).contains(&now) {
            let (from, to) = (date(in_use.not_before), date(in_use.not_after));
            return not_renewable(format!("its certificate is good from {from} to {to}"));
        }
        Ok(())
    }

    /// Has the phone sign for a web ticket. The consent is then given for the whole session.
    pub(super) async fn endorsed<D: Driver, E: Enrolment>(
        &mut self,
        planned: &mut Planned,
        consent: &mut Consent,
        phone: &mut D,
        service: &mut E,
    ) -> Result<SignIn, ProvisionError> {
        let Some(in_use) = &planned.met.state.identity else {
            return Err(ProvisionError::NotRenewable { why: "it holds no identity".into() });
        };
        let terms = self.until_stopped(service.endorsement_terms(&self.job.user)).await??;
        let endorsing = Endorsing {
            certificate: in_use.fingerprint,
            terms,
            consent: std::mem::replace(consent, Consent::NotWanted),
            set_clock: planned.set_clock,
        };
        let waiting = match endorsing.consent {
            Consent::KeyPress => "no password: press the key that the phone shows; it signs for itself",
            Consent::NotWanted | Consent::Code(_) => "no password: the phone signs for itself",
        };
        self.began(Stage::SignIn, waiting);
        let endorsed = self.until_stopped(phone.endorse(&endorsing)).await??;
        if let Some(after) = endorsed.clock {
            planned.met.looked_at = self.job.world.moment();
            let before = planned.met.state.clock.replace(after).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            self.record.write(ledger::Event::ClockSet { before, after }).await?;
        }
        self.record
            .write(ledger::Event::Endorsed {
                device: planned.met.identity.device,
                user: self.job.user.clone(),
                fingerprint: endorsing.certificate,
                expires: terms.expires,
            })
            .await?;
        Ok(SignIn::Certificate(endorsed.endorsement))
    }
}
