//! The handshakes: TLS-DSK in its two rounds, NTLM in its one ([MS-SIPAE] section 4.4; [MS-SIP] section 4.1).

use super::answers::{self, Frame};
use super::association::{Association, Distrust, Established, Keys, Stage};
use super::faults::Faults;
use super::ntlm;
use super::record::{Proof, Request};
use super::service::{Conversation, Credentials, Outcome, Service};
use super::tunnel::{Agreed, Allowed, Tunnel};
use crate::credential::Fingerprint;
use crate::lab::web_services::{FrontEnd, Published, Standing, strikes};
use crate::registrar::challenge::Scheme;
use crate::registrar::message::Message;
use time::{Duration, OffsetDateTime};

/// The longest that an association lives ([MS-SIPAE] section 3.2.2).
const LONGEST: Duration = Duration::hours(8);

impl Service {
    /// The first message of a handshake.
    pub(super) fn begin(
        &self,
        conversation: &mut Conversation,
        request: &Message,
        credentials: &Credentials,
        epid: &str,
        entry: &mut Request,
    ) -> Outcome {
        let faults = self.faults().clone();
        let target = self.names.target(conversation.server).to_owned();
        let frame = Frame { request, conversation, target: &target };
        let refused = |entry: &mut Request, why: &str| Outcome::Answer(self.challenged(&frame, entry, why));
        if epid.is_empty() {
            return Outcome::Answer(answers::no_epid(&frame));
        }
        if credentials.given.get("targetname") != Some(&target) {
            return refused(entry, "the target is another server");
        }
        let Ok(Some(data)) = credentials.given.data() else { return refused(entry, "gssapi-data is not base64") };
        let allowed = if faults.inner_modern { Allowed::Modern } else { Allowed::All };
        let (stage, answer) = match credentials.scheme {
            Scheme::TlsDsk if !faults.no_tls_dsk => match Tunnel::open(&self.inner(faults.inner), allowed, &data) {
                Ok((tunnel, answer)) => (Stage::Tunnel(Box::new(tunnel)), answer),
                Err(closed) => return refused(entry, &closed.to_string()),
            },
            Scheme::Ntlm if !faults.no_ntlm && data.is_empty() => {
                let challenge = ntlm::Challenge::new(&target, faults.now());
                let message = challenge.message().to_vec();
                (Stage::Challenged(challenge), message)
            }
            Scheme::Ntlm if !faults.no_ntlm => return refused(entry, "connection-less NTLM begins with nothing"),
            Scheme::TlsDsk | Scheme::Ntlm | Scheme::Kerberos => return refused(entry, "the scheme was not offered"),
        };
        let association = Association::new(credentials.scheme, epid, &faults, stage);
        let answer = answers::next_leg(&frame, &faults, &association, &answer);
        conversation.remember(association);
        Outcome::Answer(answer)
    }

    /// Its next message.
    pub(super) fn go_on(
        &self,
        conversation: &mut Conversation,
        request: &Message,
        credentials: &Credentials,
        epid: &str,
        entry: &mut Request,
    ) -> Outcome {
        let faults = self.faults().clone();
        let (server, target) = (conversation.server, self.names.target(conversation.server).to_owned());
        let data = credentials.given.data().ok().flatten();
        let Some(association) = conversation.association(epid, credentials) else { return Outcome::Nothing };
        let opaque = association.opaque.clone();
        let went = match (&mut association.stage, data) {
            (_, None) => Err("gssapi-data is not base64".to_owned()),
            (Stage::Tunnel(tunnel), Some(data)) => match tunnel.step(&data) {
                Err(closed) => Err(closed.to_string()),
                Ok(answer) => match tunnel.finished() {
                    None => Ok(Some((None, answer))),
                    Some(agreed) => match self.certified(agreed, server, &faults) {
                        Ok(established) => Ok(Some((Some(established), answer))),
                        Err(why) => Err(why.to_owned()),
                    },
                },
            },
            (Stage::Challenged(challenge), Some(data)) => match self.proven(challenge, &data, &faults) {
                Ok(established) => {
                    association.stage = Stage::Established(Box::new(established));
                    Ok(None)
                }
                Err(why) => Err(why.to_owned()),
            },
            (Stage::Established(_), Some(_)) => Err("the handshake is over".to_owned()),
        };
        match went {
            Ok(Some((established, answer))) => {
                if let Some(mut established) = established {
                    established.owes_unsigned = association.version < 4;
                    association.stage = Stage::Established(Box::new(established));
                }
                let association = conversation.associations.iter().find(|own| own.opaque == opaque);
                let Some(association) = association else { return Outcome::Nothing };
                let frame = Frame { request, conversation, target: &target };
                Outcome::Answer(answers::next_leg(&frame, &faults, association, &answer))
            }
            Ok(None) => self.proven_message(conversation, request, credentials, epid, entry),
            Err(why) => {
                conversation.forget(&opaque);
                let frame = Frame { request, conversation, target: &target };
                let answer = self.challenged(&frame, entry, &why);
                Outcome::Answer(answers::with_failed_handshake(answer, &frame, &why))
            }
        }
    }

    /// NTLM's last message is a request already, and signed from version 4 on.
    fn proven_message(
        &self,
        conversation: &mut Conversation,
        request: &Message,
        credentials: &Credentials,
        epid: &str,
        entry: &mut Request,
    ) -> Outcome {
        let Some(association) = conversation.association(epid, credentials) else { return Outcome::Nothing };
        let (opaque, version) = (association.opaque.clone(), association.version);
        let Stage::Established(established) = &mut association.stage else { return Outcome::Nothing };
        let signed = credentials.given.get("response").is_some();
        if signed || version > 3 {
            let believed = established.believe(request, &credentials.given);
            if let Err(Distrust::Wrong(_) | Distrust::Replayed) = believed {
                conversation.forget(&opaque);
                let target = self.names.target(conversation.server).to_owned();
                let frame = Frame { request, conversation, target: &target };
                return Outcome::Answer(self.challenged(&frame, entry, "the signature is wrong"));
            }
        }
        self.served(conversation, request, credentials, epid, entry)
    }

    /// Whose certificate it is: what the store says, and nothing else. Whether that is the user of From is judged when a
    /// signed message says it, so that the refusal can be signed too.
    fn certified(&self, agreed: Agreed, server: FrontEnd, faults: &Faults) -> Result<Established, &'static str> {
        let published = self.in_force(&agreed.certificate, server, faults)?;
        let now = faults.now();
        let life = faults.association_life.unwrap_or(LONGEST.min(published.expires - now));
        let proof = Proof::TlsDsk { tls: agreed.version, cipher_suite: agreed.suite };
        let hash = faults.hash.unwrap_or(agreed.hash);
        let keys = Keys::Dsk { client: agreed.client_key, server: agreed.server_key, hash };
        Ok(Established::new(published.user, proof, keys, now + life))
    }

    /// The entry of this front end's copy of the store.
    fn in_force(&self, certificate: &[u8], server: FrontEnd, faults: &Faults) -> Result<Published, &'static str> {
        let fingerprint = Fingerprint::of(certificate);
        let Some(published) = self.store.find(fingerprint) else {
            let all = self.store.list_all();
            let before = all.iter().rev().find(|(published, _)| Fingerprint::of(&published.certificate) == fingerprint);
            return Err(match before {
                Some((_, Standing::Revoked)) => "the certificate is revoked",
                Some((_, Standing::Replaced)) => "the certificate was replaced",
                Some((_, Standing::InForce)) | None => "the certificate is not published",
            });
        };
        let now = faults.now();
        let arrived = published.published + faults.replication_delay <= OffsetDateTime::now_utc();
        let unaware = faults.front_end_unaware && server == FrontEnd::Fe01;
        if unaware || !arrived && !faults.replication_delay.is_zero() || strikes(&mut self.faults().not_replicated) {
            return Err("the certificate is not in this front end's copy of the store yet");
        }
        if published.expires <= now {
            return Err("the certificate has ended");
        }
        Ok(published)
    }

    /// Whose password it is.
    fn proven(&self, challenge: &ntlm::Challenge, token: &[u8], faults: &Faults) -> Result<Established, &'static str> {
        let now = faults.now();
        let (user, signer) = challenge.checked(token, &self.users, now).map_err(|(_, why)| why)?;
        let life = faults.association_life.unwrap_or(LONGEST);
        Ok(Established::new(self.users[user].sip.clone(), Proof::Ntlm, Keys::Ntlm(signer), now + life))
    }
}
