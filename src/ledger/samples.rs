//! One event of every kind, in the order of a job, for tests.

use super::{Authenticity, Event, JobStarted, Outcome, Terms, TransactionId};
use crate::credential::{Fingerprint, KeyKind, SipAddress};
use crate::phone::ProvedKeys;
use crate::service::Publication;
use time::macros::datetime;
use uuid::Uuid;

pub(super) const TRANSACTION: TransactionId = TransactionId::from_bytes([0xab; 16]);
pub(super) const DEVICE: Uuid = Uuid::from_u128(0x5a6d_33f1);

pub(super) fn alice() -> SipAddress {
    "alice@contoso.example".parse().expect("an address")
}

pub(super) fn started() -> JobStarted {
    let terms = Terms {
        web_services: "https://web.contoso.example/CertProv/CertProvisioningService.svc".into(),
        sign_in: "ntlm".into(),
        account: Some("CONTOSO\\alice".into()),
        ..Terms::default()
    };
    let slot = "port 1-4.2".into();
    JobStarted { tool: "0.1.0".into(), lab: true, dry_run: false, user: alice(), slot, terms: Some(Box::new(terms)) }
}

pub(super) fn publication(request_id: u128) -> Publication {
    Publication {
        user: alice(),
        device: DEVICE,
        signing_request: b"a request".to_vec(),
        request_id: Uuid::from_u128(request_id),
    }
}

pub(super) fn published(transaction: TransactionId) -> Event {
    Event::Published {
        transaction,
        certificate: b"a certificate".to_vec(),
        fingerprint: Fingerprint::of(b"a certificate"),
        not_after: datetime!(2027-05-21 00:00 UTC),
        server: Some("fe02.contoso.example".into()),
    }
}

pub(super) fn events() -> Vec<Event> {
    let (transaction, device, user, fingerprint) = (TRANSACTION, DEVICE, alice(), Fingerprint::of(b"a certificate"));
    vec![
        Event::JobStarted(started()),
        Event::PhoneIdentified {
            maker: "Acme".into(),
            model: "Desk 2".into(),
            serial: "A-17".into(),
            mac: Some("00:04:f2:aa:bb:cc".into()),
            firmware: "3.1".into(),
            device,
            authenticity: Authenticity::MakersCertificate,
            keys: Some(ProvedKeys {
                session: Fingerprint::of(b"a session"),
                factory: Some(Fingerprint::of(b"a factory")),
            }),
        },
        Event::IdentityReplaceIntended {
            device,
            old_user: Some("bob@contoso.example".into()),
            old_fingerprint: Some(Fingerprint::of(b"an old certificate")),
            new_user: user.clone(),
        },
        Event::ClockSet { before: datetime!(2008-01-01 00:00 UTC), after: datetime!(2026-11-22 21:10 UTC) },
        Event::TransactionBegun { transaction, device, user: user.clone() },
        Event::SigningRequestReceived {
            transaction,
            signing_request: b"a request".to_vec(),
            key_kind: KeyKind::Rsa2048,
            key_id: Fingerprint::of(b"a key"),
        },
        Event::TrustStaged {
            transaction,
            anchors: vec![Fingerprint::of(b"a root")],
            intermediates: vec![Fingerprint::of(b"an intermediate")],
        },
        Event::ServerJudged { server: "web.contoso.example".into(), verdict: "unknown root".into() },
        Event::TicketIssued { user: user.clone(), expires: datetime!(2026-11-23 05:10 UTC), server: None },
        Event::PublishIntended { transaction, publication: publication(1) },
        published(transaction),
        Event::PublishUnknown { transaction, error: "the connection was reset".into() },
        Event::PublishRefused { transaction, error: "the user is not enabled".into() },
        Event::CommitIntended { transaction, fingerprint },
        Event::Committed { transaction, fingerprint },
        Event::Proved { device, transaction: Some(transaction), fingerprint, user: user.clone() },
        Event::Aborted { transaction, reason: "the operator asked for it".into() },
        Event::JobEnded {
            outcome: Outcome::Done,
            exit_code: 0,
            message: "done".into(),
            next_step: Some("unplug USB, keep Ethernet".into()),
        },
        Event::StoreUnavailable {
            transaction,
            attempt: 1,
            of: 4,
            server: Some("fe02.contoso.example".into()),
            error: "the data store is unavailable".into(),
        },
        Event::Orphaned { transaction, fingerprint: None, reason: "its answer was lost".into() },
        Event::JobResumed { tool: "0.1.0".into(), slot: None },
        Event::Endorsed {
            device,
            user: user.clone(),
            fingerprint: Fingerprint::of(b"an old certificate"),
            expires: datetime!(2026-11-22 21:15 UTC),
        },
        Event::SignInRehearsed {
            device,
            user,
            fingerprint: Fingerprint::of(b"a certificate"),
            registrar: Some("sip.contoso.example:5061".into()),
            grade: "good".into(),
            said: "registered for 600 s, and signed off again".into(),
        },
    ]
}
