//! What goes wrong at the registrar.

use super::Does::Registrar;
use super::Entry;
use super::value::Takes::{Counted, Nothing, Number, Seconds, Times, Word};
use crate::lab::registrar::{Hash, InnerFault, Refusal, SignatureFault};
use time::Duration;

pub(super) const FAULTS: &[Entry] = &[
    Entry {
        name: "not-replicated",
        takes: Times,
        says: "the registrar's copy of the store has not got the certificate yet, at the next N sign-ins or always: 401",
        does: Registrar(|registrar, value| registrar.faults().not_replicated = value.times()),
    },
    Entry {
        name: "replication-delay",
        takes: Seconds,
        says: "certificates reach the registrar's copy of the store so many seconds after their publication",
        does: Registrar(|registrar, value| registrar.faults().replication_delay = Duration::seconds(value.number())),
    },
    Entry {
        name: "front-end-unaware",
        takes: Nothing,
        says: "fe01 of two front ends, which has every even connection, never hears of a publication",
        does: Registrar(|registrar, _| registrar.faults().front_end_unaware = true),
    },
    Entry {
        name: "homed-elsewhere",
        takes: Nothing,
        says: "every user is at home on another port: a signed 301 leads there",
        does: Registrar(|registrar, _| registrar.faults().homed_elsewhere = true),
    },
    Entry {
        name: "wrong-rspauth",
        takes: Nothing,
        says: "the signatures of answers are wrong",
        does: Registrar(|registrar, _| registrar.faults().signature = SignatureFault::Wrong),
    },
    Entry {
        name: "unsigned-answers",
        takes: Nothing,
        says: "answers are not signed, the 200 neither",
        does: Registrar(|registrar, _| registrar.faults().signature = SignatureFault::Missing),
    },
    Entry {
        name: "repeated-snum",
        takes: Nothing,
        says: "every signed answer has the number 1, as if it were played again",
        does: Registrar(|registrar, _| registrar.faults().signature = SignatureFault::Repeated),
    },
    Entry {
        name: "association-dropped",
        takes: Times,
        says: "the next N messages of who is signed in find no association: 401",
        does: Registrar(|registrar, value| registrar.faults().association_dropped = value.times()),
    },
    Entry {
        name: "association-life",
        takes: Seconds,
        says: "associations end after so many seconds: 401",
        does: Registrar(|registrar, value| {
            registrar.faults().association_life = Some(Duration::seconds(value.number()));
        }),
    },
    Entry {
        name: "version-3",
        takes: Nothing,
        says: "challenges say version 3, where the message that ends the handshake is not signed: no fault, but rare",
        does: Registrar(|registrar, _| registrar.faults().version_3 = true),
    },
    Entry {
        name: "hash",
        takes: Word(&["sha1", "sha256", "sha384"], "=sha1|sha256|sha384"),
        says: "signatures are made and checked with this hash, whatever the cipher suite says",
        does: Registrar(|registrar, value| {
            registrar.faults().hash = Some(match value.word() {
                "sha1" => Hash::Sha1,
                "sha256" => Hash::Sha256,
                _ => Hash::Sha384,
            });
        }),
    },
    Entry {
        name: "expires",
        takes: Counted,
        says: "registrations last N seconds, whatever was asked for",
        does: Registrar(|registrar, value| {
            registrar.faults().expires = Some(value.count().try_into().unwrap_or(u32::MAX));
        }),
    },
    Entry {
        name: "no-expires",
        takes: Nothing,
        says: "the 200 to a REGISTER has no Expires",
        does: Registrar(|registrar, _| registrar.faults().no_expires = true),
    },
    Entry {
        name: "registrar-clock",
        takes: Seconds,
        says: "the registrar's clock is so many seconds ahead, or behind with a minus",
        does: Registrar(|registrar, value| registrar.faults().clock_offset = Duration::seconds(value.number())),
    },
    Entry {
        name: "inner-wrong-name",
        takes: Nothing,
        says: "the certificate inside TLS-DSK is for other.contoso.example, and the connection's is as it should be",
        does: Registrar(|registrar, _| registrar.faults().inner = InnerFault::WrongName),
    },
    Entry {
        name: "inner-unknown-root",
        takes: Nothing,
        says: "the chain inside TLS-DSK ends in a root that nobody was given, and the connection's is as it should be",
        does: Registrar(|registrar, _| registrar.faults().inner = InnerFault::UnknownRoot),
    },
    Entry {
        name: "inner-tls-modern",
        takes: Nothing,
        says: "inside TLS-DSK there is nothing older than TLS 1.2 with ECDHE and AEAD, as where an administrator wants it so",
        does: Registrar(|registrar, _| registrar.faults().inner_modern = true),
    },
    Entry {
        name: "no-tls-dsk",
        takes: Nothing,
        says: "the registrar does not offer TLS-DSK, as with UseCertificateForClientToProxyAuth off",
        does: Registrar(|registrar, _| registrar.faults().no_tls_dsk = true),
    },
    Entry {
        name: "no-ntlm",
        takes: Nothing,
        says: "the registrar does not offer NTLM",
        does: Registrar(|registrar, _| registrar.faults().no_ntlm = true),
    },
    Entry {
        name: "kerberos-offered",
        takes: Nothing,
        says: "the registrar offers Kerberos too, as pools do, and does not have it: no fault, but often taken for one",
        does: Registrar(|registrar, _| registrar.faults().kerberos_offered = true),
    },
    Entry {
        name: "asks-as-proxy",
        takes: Nothing,
        says: "the registrar asks by 407 and Proxy-Authenticate: no fault, but often taken for one",
        does: Registrar(|registrar, _| registrar.faults().as_proxy = true),
    },
    Entry {
        name: "user-disabled",
        takes: Nothing,
        says: "the registrar says that the user is disabled: a signed 403 with LAB 99020",
        does: Registrar(|registrar, _| registrar.faults().refusal = Some(Refusal::UserDisabled)),
    },
    Entry {
        name: "user-not-found",
        takes: Nothing,
        says: "the registrar does not find the user: a signed 404 with 4005",
        does: Registrar(|registrar, _| registrar.faults().refusal = Some(Refusal::UserNotFound)),
    },
    Entry {
        name: "registrar-unavailable",
        takes: Word(&["503", "504"], "=503|504"),
        says: "the registrar answers 503 with LAB 99021 or 504 with 1007, to the first request already",
        does: Registrar(|registrar, value| {
            registrar.faults().refusal = Some(match value.word() {
                "503" => Refusal::Unavailable,
                _ => Refusal::TimedOut,
            });
        }),
    },
    Entry {
        name: "registrar-refuses",
        takes: Nothing,
        says: "the registrar answers everything with a bare 403",
        does: Registrar(|registrar, _| registrar.faults().refusal = Some(Refusal::Everything)),
    },
    Entry {
        name: "registrar-hangs",
        takes: Number(0),
        says: "the registrar reads everything and answers nothing, after N answers (0) on a connection",
        does: Registrar(|registrar, value| {
            registrar.faults().hangs_after = Some(value.count().try_into().unwrap_or(u32::MAX));
        }),
    },
];
