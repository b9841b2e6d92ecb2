//! What can be written in the ledger.
//!
//! No event has a field for a password, a PIN, a ticket or a private key: what is not in the type cannot be on the disk.

use super::TransactionId;
use super::encoding::{base64_der, rfc3339};
use crate::credential::{Fingerprint, KeyKind, SipAddress};
use crate::phone::ProvedKeys;
use crate::service::Publication;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

/// One fact in the life of a job. Its standing says how far it can be relied on.
///
/// Serialize a [`Record`](super::Record), which does it for every kind; an event alone does not where it is `Other`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A job began.
    JobStarted(JobStarted),
    /// What the phone says about itself.
    PhoneIdentified {
        /// Who made it.
        maker: String,
        /// The model's name.
        model: String,
        /// Its serial number: a claim, never a key.
        serial: String,
        /// Its Ethernet address, `00:04:f2:aa:bb:cc`, when it told one.
        mac: Option<String>,
        /// The version of its firmware.
        firmware: String,
        /// The UUID under which it registers.
        device: Uuid,
        /// What vouches for all of this.
        authenticity: Authenticity,
        /// By what it is known again. Ledgers of the first version have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keys: Option<ProvedKeys>,
    },
    /// The phone holds somebody's identity, and the operator said that it may be replaced.
    IdentityReplaceIntended {
        /// The phone.
        device: Uuid,
        /// The user whose identity it is, in the phone's spelling.
        old_user: Option<String>,
        /// The certificate that goes.
        old_fingerprint: Option<Fingerprint>,
        /// The user who comes.
        new_user: SipAddress,
    },
    /// The phone's clock was set.
    ClockSet {
        /// What it showed.
        #[serde(with = "rfc3339")]
        before: OffsetDateTime,
        /// What it was set to.
        #[serde(with = "rfc3339")]
        after: OffsetDateTime,
    },
    /// A transaction is asked of the phone: from here on it can be found by this id.
    TransactionBegun {
        /// The id, chosen by this program.
        transaction: TransactionId,
        /// The phone it belongs to.
        device: Uuid,
        /// The user the phone gets.
        user: SipAddress,
    },
    /// The phone has its key and gave a request signed with it.
    SigningRequestReceived {
        /// The transaction.
        transaction: TransactionId,
        /// PKCS#10, DER.
        #[serde(with = "base64_der")]
        signing_request: Vec<u8>,
        /// The kind of the phone's key.
        key_kind: KeyKind,
        /// SHA-256 of the public key (SubjectPublicKeyInfo).
        key_id: Fingerprint,
    },
    /// The phone holds certificates of the server chain that it lacked.
    TrustStaged {
        /// The transaction.
        transaction: TransactionId,
        /// Roots.
        anchors: Vec<Fingerprint>,
        /// What stands between a root and the server.
        intermediates: Vec<Fingerprint>,
    },
    /// The server's chain was judged for the phone's view.
    ServerJudged {
        /// The server's name.
        server: String,
        /// The judgement in words.
        verdict: String,
    },
    /// The phone signed for a web ticket with the key of its certificate in use. The signature is written nowhere.
    Endorsed {
        /// The phone.
        device: Uuid,
        /// The user whose ticket it is for.
        user: SipAddress,
        /// The certificate.
        fingerprint: Fingerprint,
        /// Until when the signature is good for a ticket, by the service's clock.
        #[serde(with = "rfc3339")]
        expires: OffsetDateTime,
    },
    /// The user was to be signed in at the registrar with the certificate on the phone, by the key inside it, and off again.
    SignInRehearsed {
        /// The phone.
        device: Uuid,
        /// The user.
        user: SipAddress,
        /// The certificate.
        fingerprint: Fingerprint,
        /// Where, as far as it got.
        registrar: Option<String>,
        /// `good`, `bad` or `unknown`.
        grade: String,
        /// What was found, in words.
        said: String,
    },
    /// The service gave a web ticket. The ticket itself is written nowhere.
    TicketIssued {
        /// The user the service named.
        user: SipAddress,
        /// When it ends, by the service's clock.
        #[serde(with = "rfc3339")]
        expires: OffsetDateTime,
        /// The server that said so.
        server: Option<String>,
    },
    /// The next thing sent to the service publishes a certificate. What is sent is exactly this; a repetition is equal to it.
    PublishIntended {
        /// The transaction.
        transaction: TransactionId,
        /// All of it.
        #[serde(with = "PublicationBody")]
        publication: Publication,
    },
    /// The service published the user's certificate.
    Published {
        /// The transaction.
        transaction: TransactionId,
        /// X.509, DER.
        #[serde(with = "base64_der")]
        certificate: Vec<u8>,
        /// Its fingerprint.
        fingerprint: Fingerprint,
        /// When it ends.
        #[serde(with = "rfc3339")]
        not_after: OffsetDateTime,
        /// The server that said so.
        server: Option<String>,
    },
    /// The publication was sent and no answer was understood: it may have happened.
    PublishUnknown {
        /// The transaction.
        transaction: TransactionId,
        /// What went wrong, in words.
        error: String,
    },
    /// The service said that it did not publish.
    PublishRefused {
        /// The transaction.
        transaction: TransactionId,
        /// Its reason, in words.
        error: String,
    },
    /// The next thing sent to the phone makes the new identity the active one.
    CommitIntended {
        /// The transaction.
        transaction: TransactionId,
        /// The certificate.
        fingerprint: Fingerprint,
    },
    /// The phone says that the new identity is the active one.
    Committed {
        /// The transaction.
        transaction: TransactionId,
        /// The certificate.
        fingerprint: Fingerprint,
    },
    /// The phone signed our challenge with the key of its active certificate, and what was read back is what was sent.
    Proved {
        /// The phone.
        device: Uuid,
        /// The transaction that put the certificate there, when this proof belongs to one.
        transaction: Option<TransactionId>,
        /// The certificate.
        fingerprint: Fingerprint,
        /// The user it is for.
        user: SipAddress,
    },
    /// The phone dropped the transaction.
    Aborted {
        /// The transaction.
        transaction: TransactionId,
        /// Why, in words.
        reason: String,
    },
    /// A try to publish met an unavailable data store: this try published nothing.
    StoreUnavailable {
        /// The transaction.
        transaction: TransactionId,
        /// Which try of this job, from 1.
        attempt: u32,
        /// How many the job may make.
        of: u32,
        /// The server that said so.
        server: Option<String>,
        /// Its reason, in words.
        error: String,
    },
    /// A certificate is, or may be, published that no phone will ever use.
    Orphaned {
        /// The transaction it was published for.
        transaction: TransactionId,
        /// The certificate. Nothing: the answer was lost, and with it what was published, if anything was.
        fingerprint: Option<Fingerprint>,
        /// Why nobody uses it, in words.
        reason: String,
    },
    /// A job that had not come to its end goes on.
    JobResumed {
        /// Version of tethercert.
        tool: String,
        /// Where the phone is plugged in now. Nothing: it was not needed.
        slot: Option<String>,
    },
    /// A job ended. A job without this event was cut short; of several, the last one counts.
    JobEnded {
        /// How.
        outcome: Outcome,
        /// The exit code of the program.
        exit_code: i32,
        /// What the operator read.
        message: String,
        /// What the operator was told to do next, if anything.
        next_step: Option<String>,
    },
    /// A kind that this version does not know: a newer one wrote it.
    #[serde(skip)]
    Other {
        /// Its name.
        kind: String,
        /// Its body as it stands.
        body: Value,
        /// How far it can be relied on.
        standing: Standing,
    },
}

/// How a job began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStarted {
    /// Version of tethercert.
    pub tool: String,
    /// Whether everything at the other end of the wires is the lab.
    pub lab: bool,
    /// Whether nothing may be changed.
    pub dry_run: bool,
    /// The user the phone is to get.
    pub user: SipAddress,
    /// Where the phone is plugged in: `port 1-4.2`.
    pub slot: String,
    /// What else it takes to go on with the job. Ledgers of the first version have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Box<Terms>>,
}

/// What it takes to go on with a job, as it was given on the command line. Never a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// URL of the certificate provisioning service.
    pub web_services: String,
    /// The configured pool, where one was chosen.
    pub pool: Option<String>,
    /// `host:port` of the registrar, where it was given.
    pub registrar: Option<String>,
    /// The way to sign in, as `--auth` spells it.
    pub sign_in: String,
    /// Windows account or phone number.
    pub account: Option<String>,
    /// The definition by which the phone was recognised.
    pub model: Option<String>,
    /// Files with CA certificates to trust besides the system's.
    pub trust_anchors: Vec<String>,
    /// Names that were led elsewhere: `HOST:PORT:ADDRESS`.
    pub resolve: Vec<String>,
    /// Further hosts that may receive credentials.
    pub allowed_hosts: Vec<String>,
    /// The TLS implementation, where it was given by hand.
    pub tls: Option<String>,
    /// The way to the pool, where it was given by hand; never with a password.
    pub proxy: Option<String>,
    /// File with what is not public about the pool, where it was given by hand.
    pub profile: Option<String>,
    /// Whether a phone is refused for which nothing vouches.
    pub require_authentic: bool,
    /// What the phone does at the end, as the option is called: `sign-in`, `restart`.
    pub parting: Option<String>,
    /// The line of the roster that the job is for, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<RosterLine>,
}

/// A line of a roster: what the list said about the phone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RosterLine {
    /// The file's name, without its folder.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// What the list calls it.
    pub label: Option<String>,
}

/// How far an event can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// This program saw or did it.
    Observed,
    /// A phone or a service said so.
    Claimed,
    /// It is about to be done; nobody knows yet whether it happened.
    Intended,
}

/// What vouches for what a phone says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authenticity {
    /// A factory key with a chain to the maker's root that the definition names.
    MakersCertificate,
    /// A person compared the short code on both sides.
    ComparedCode,
    /// Nothing: an unauthenticated device.
    Unauthenticated,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of it, proved.
    Done,
    /// The phone and the service are as they were.
    NotDone,
    /// Something happened that could not be confirmed.
    Unknown,
}

impl Event {
    /// The names of the kinds that this version knows.
    pub(super) const KINDS: [&str; 23] = [
        "job_started",
        "phone_identified",
        "identity_replace_intended",
        "clock_set",
        "transaction_begun",
        "signing_request_received",
        "trust_staged",
        "server_judged",
        "ticket_issued",
        "publish_intended",
        "published",
        "publish_unknown",
        "publish_refused",
        "commit_intended",
        "committed",
        "proved",
        "aborted",
        "job_ended",
        "store_unavailable",
        "orphaned",
        "job_resumed",
        "endorsed",
        "sign_in_rehearsed",
    ];

    /// How far it can be relied on.
    pub fn standing(&self) -> Standing {
        match self {
            Self::JobStarted(_)
            | Self::ClockSet { .. }
            | Self::SigningRequestReceived { .. }
            | Self::ServerJudged { .. }
            | Self::Endorsed { .. }
            | Self::SignInRehearsed { .. }
            | Self::TicketIssued { .. }
            | Self::Published { .. }
            | Self::PublishUnknown { .. }
            | Self::Proved { .. }
            | Self::Orphaned { .. }
            | Self::JobResumed { .. }
            | Self::JobEnded { .. } => Standing::Observed,
            Self::PhoneIdentified { .. }
            | Self::TrustStaged { .. }
            | Self::PublishRefused { .. }
            | Self::StoreUnavailable { .. }
            | Self::Committed { .. }
            | Self::Aborted { .. } => Standing::Claimed,
            Self::IdentityReplaceIntended { .. }
            | Self::TransactionBegun { .. }
            | Self::PublishIntended { .. }
            | Self::CommitIntended { .. } => Standing::Intended,
            Self::Other { standing, .. } => *standing,
        }
    }

    /// The phone it is about, where it says so.
    pub fn device(&self) -> Option<Uuid> {
        match self {
            Self::PhoneIdentified { device, .. }
            | Self::IdentityReplaceIntended { device, .. }
            | Self::TransactionBegun { device, .. }
            | Self::Endorsed { device, .. }
            | Self::SignInRehearsed { device, .. }
            | Self::Proved { device, .. } => Some(*device),
            Self::PublishIntended { publication, .. } => Some(publication.device),
            Self::JobStarted(_)
            | Self::ClockSet { .. }
            | Self::SigningRequestReceived { .. }
            | Self::TrustStaged { .. }
            | Self::ServerJudged { .. }
            | Self::TicketIssued { .. }
            | Self::Published { .. }
            | Self::PublishUnknown { .. }
            | Self::PublishRefused { .. }
            | Self::CommitIntended { .. }
            | Self::Committed { .. }
            | Self::Aborted { .. }
            | Self::StoreUnavailable { .. }
            | Self::Orphaned { .. }
            | Self::JobResumed { .. }
            | Self::JobEnded { .. }
            | Self::Other { .. } => None,
        }
    }

    /// The transaction it is about, where it says so.
    pub fn transaction(&self) -> Option<TransactionId> {
        match self {
            Self::TransactionBegun { transaction, .. }
            | Self::SigningRequestReceived { transaction, .. }
            | Self::TrustStaged { transaction, .. }
            | Self::PublishIntended { transaction, .. }
            | Self::Published { transaction, .. }
            | Self::PublishUnknown { transaction, .. }
            | Self::PublishRefused { transaction, .. }
            | Self::CommitIntended { transaction, .. }
            | Self::Committed { transaction, .. }
            | Self::StoreUnavailable { transaction, .. }
            | Self::Orphaned { transaction, .. }
            | Self::Aborted { transaction, .. } => Some(*transaction),
            Self::Proved { transaction, .. } => *transaction,
            Self::JobStarted(_)
            | Self::PhoneIdentified { .. }
            | Self::IdentityReplaceIntended { .. }
            | Self::ClockSet { .. }
            | Self::ServerJudged { .. }
            | Self::Endorsed { .. }
            | Self::SignInRehearsed { .. }
            | Self::TicketIssued { .. }
            | Self::JobResumed { .. }
            | Self::JobEnded { .. }
            | Self::Other { .. } => None,
        }
    }

    /// The kind's name and the body, a JSON object.
    pub(super) fn to_parts(&self) -> serde_json::Result<(String, Value)> {
        if let Self::Other { kind, body, .. } = self {
            return Ok((kind.clone(), body.clone()));
        }
        let mut value = serde_json::to_value(self)?;
        let kind = value.as_object_mut().and_then(|body| body.remove("kind"));
        let kind = kind.and_then(|kind| kind.as_str().map(str::to_owned)).expect("an event is tagged with its kind");
        Ok((kind, value))
    }

    /// Reads what `to_parts` gave, or what a newer version wrote.
    pub(super) fn from_parts(kind: &str, standing: Standing, body: &str) -> serde_json::Result<Self> {
        if !Self::KINDS.contains(&kind) {
            return Ok(Self::Other { kind: kind.to_owned(), body: serde_json::from_str(body)?, standing });
        }
        let mut body: Map<String, Value> = serde_json::from_str(body)?;
        body.insert("kind".to_owned(), kind.into());
        serde_json::from_value(Value::Object(body))
    }
}

/// A publication in a body, with its DER in base64.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Publication")]
struct PublicationBody {
    user: SipAddress,
    device: Uuid,
    #[serde(with = "base64_der")]
    signing_request: Vec<u8>,
    request_id: Uuid,
}

impl Standing {
    /// As the ledger spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Claimed => "claimed",
            Self::Intended => "intended",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Observed, Self::Claimed, Self::Intended].into_iter().find(|standing| standing.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_reads_back_what_was_written() {
        let events = samples::events();
        let mut kinds = Vec::new();
        for event in &events {
            let (kind, body) = event.to_parts().unwrap();
            let read = Event::from_parts(&kind, event.standing(), &body.to_string()).unwrap();
            assert_eq!(&read, event);
            kinds.push(kind);
        }
        assert_eq!(kinds, Event::KINDS);
    }

    #[test]
    fn no_event_has_a_field_for_a_secret() {
        fn keys(value: &Value, into: &mut Vec<String>) {
            for (key, value) in value.as_object().into_iter().flatten() {
                into.push(key.clone());
                keys(value, into);
            }
        }
        let mut names = Vec::new();
        samples::events().iter().for_each(|event| keys(&event.to_parts().unwrap().1, &mut names));
        let secret = ["password", "pin", "secret", "private", "ticket", "assertion", "token", "login"];
        let telling: Vec<_> = names.iter().filter(|name| secret.iter().any(|word| name.contains(word))).collect();
        assert!(telling.is_empty(), "{telling:?}");
    }

    #[test]
    fn a_kind_of_a_newer_version_is_kept_as_it_stands() {
        let event = Event::from_parts("phone_painted", Standing::Claimed, r#"{"colour":"red"}"#).unwrap();
        let body = serde_json::json!({"colour": "red"});
        assert_eq!(event, Event::Other { kind: "phone_painted".into(), body, standing: Standing::Claimed });
        assert_eq!(event.standing(), Standing::Claimed);
    }

    #[test]
    fn a_job_of_the_first_version_is_read_without_its_terms() {
        let body = r#"{"tool":"0.1.0","lab":false,"dry_run":false,"user":"alice@contoso.example","slot":"1-4.2"}"#;
        let event = Event::from_parts("job_started", Standing::Observed, body).unwrap();
        assert!(matches!(event, Event::JobStarted(JobStarted { terms: None, .. })));
    }

    #[test]
    fn a_new_field_of_a_known_kind_is_no_error() {
        let body = r#"{"transaction":"000102030405060708090a0b0c0d0e0f","reason":"asked to","by":"admin"}"#;
        assert!(Event::from_parts("aborted", Standing::Claimed, body).is_ok());
    }

    #[test]
    fn a_publication_of_an_older_ledger_is_read_without_its_message_id() {
        let body = r#"{"transaction":"000102030405060708090a0b0c0d0e0f","publication":{"user":"alice@contoso.example",
            "device":"34d859db-6585-5f91-a3b4-de853c15347d","signing_request":"YSByZXF1ZXN0",
            "request_id":"00000000-0000-0000-0000-000000000001","message_id":"00000000-0000-0000-0000-000000000002"}}"#;
        let read = Event::from_parts("publish_intended", Standing::Intended, body).unwrap();
        let Event::PublishIntended { publication, .. } = read else { panic!("{read:?}") };
        assert_eq!(
            (publication.request_id, publication.signing_request.as_slice()),
            (Uuid::from_u128(1), b"a request".as_slice())
        );
    }

    #[test]
    fn a_time_that_cannot_be_written_is_an_error_and_no_panic() {
        let before = time::macros::datetime!(-9999-01-01 00:00 UTC);
        assert!(Event::ClockSet { before, after: before }.to_parts().is_err());
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(kind in 0..Event::KINDS.len(), body in "\\PC{0,80}") {
            let _ = Event::from_parts(Event::KINDS[kind], Standing::Observed, &body);
        }
    }
}
