//! What goes wrong at the Web Services.

use super::Does::Web;
use super::Entry;
use super::value::Takes::{
    Counted, Nothing, Number, Request, RequestByte, RequestMilliseconds, RequestStatus, RequestTimes, Seconds, Times,
    TimesOrPercent, Word,
};
use crate::lab::web_services::{
    Ailment, Body, CertificateFault, ChainsFault, ChannelBinding, Cut, FrontEnd, FrontEnds, Illness, Kind,
    MetadataFault, Negotiate, Route, StoreRule, Suite, WebServices, WindowsAuth,
};
use time::Duration;

/// LAB: the number of a refusal that says nothing else.
const REFUSED_ON_PURPOSE: i64 = 99010;

pub(super) const FAULTS: &[Entry] = &[
    Entry {
        name: "store-unavailable",
        takes: TimesOrPercent,
        says: "the data store cannot be reached: LAB 99006 for the next N publications, for P percent of them, or always",
        does: Web(|web, value| match value.percent() {
            Some(percent) => web.faults().store_unavailable_percent = percent,
            None => web.faults().store_unavailable = value.times(),
        }),
    },
    Entry {
        name: "store-rule",
        takes: Word(
            &["replace", "keep-both", "de-duplicate", "refuse", "one-per-user"],
            "=replace|keep-both|de-duplicate|refuse|one-per-user",
        ),
        says: "what a second publication for the same device does, which is not public of a real pool",
        does: Web(|web, value| {
            web.store().set_rule(match value.word() {
                "keep-both" => StoreRule::KeepBoth,
                "de-duplicate" => StoreRule::DeDuplicate,
                "refuse" => StoreRule::Refuse,
                "one-per-user" => StoreRule::OnePerUser,
                _ => StoreRule::Replace,
            });
        }),
    },
    Entry {
        name: "answer-lost",
        takes: Times,
        says: "the certificate is published and the connection closed instead of the answer",
        does: Web(|web, value| web.faults().answer_lost = value.times()),
    },
    Entry {
        name: "closed-unread",
        takes: RequestTimes,
        says: "the connection is closed before the request's body is read",
        does: Web(|web, value| web.faults().unread = Some((value.kind(), value.times()))),
    },
    Entry {
        name: "closed-undone",
        takes: RequestTimes,
        says: "the request is read and the connection closed without anything being done",
        does: Web(|web, value| web.faults().hang_up = Some((value.kind(), value.times()))),
    },
    Entry {
        name: "cut",
        takes: RequestByte,
        says: "the connection is cut after so many bytes of the answer",
        does: Web(|web, value| {
            web.faults().cut = Some(Cut { kind: value.kind(), bytes: value.count(), times: value.times() });
        }),
    },
    Entry {
        name: "slow",
        takes: RequestMilliseconds,
        says: "answers are held back for so many milliseconds",
        does: Web(|web, value| web.faults().slow = Some((value.kind(), value.milliseconds()))),
    },
    Entry {
        name: "html",
        takes: RequestStatus,
        says: "a page for people comes instead of the answer, with this status (200)",
        does: Web(|web, value| web.faults().instead = Some((value.kind(), Body::Html(value.status(200))))),
    },
    Entry {
        name: "huge",
        takes: Request,
        says: "answers are 8 MiB longer",
        does: Web(|web, value| web.faults().huge = Some(value.kind())),
    },
    Entry {
        name: "truncated",
        takes: Request,
        says: "answers are complete for HTTP and end in the middle of their XML",
        does: Web(|web, value| web.faults().malformed = Some(value.kind())),
    },
    Entry {
        name: "dtd",
        takes: Request,
        says: "answers have a document type declaration",
        does: Web(|web, value| web.faults().instead = Some((value.kind(), Body::Dtd))),
    },
    Entry {
        name: "entity-bomb",
        takes: Request,
        says: "answers grow to gigabytes where entities are expanded",
        does: Web(|web, value| web.faults().instead = Some((value.kind(), Body::EntityBomb))),
    },
    Entry {
        name: "utf-16",
        takes: Request,
        says: "answers are UTF-8 and say that they are UTF-16",
        does: Web(|web, value| web.faults().instead = Some((value.kind(), Body::Utf16))),
    },
    Entry {
        name: "latin-1",
        takes: Request,
        says: "answers hold a byte that is no UTF-8, and say nothing about it",
        does: Web(|web, value| web.faults().instead = Some((value.kind(), Body::Latin1))),
    },
    Entry {
        name: "error-in-header-positional",
        takes: Number(REFUSED_ON_PURPOSE),
        says: "publications fail with this number in X-Ms-diagnostics, values by position as the specification writes it",
        does: Web(|web, value| refuse(web, Route::HeaderPositional, value.count())),
    },
    Entry {
        name: "error-in-header",
        takes: Number(REFUSED_ON_PURPOSE),
        says: "publications fail with this number in X-Ms-diagnostics, values by name as real servers write it",
        does: Web(|web, value| refuse(web, Route::HeaderNamed, value.count())),
    },
    Entry {
        name: "error-in-soap-fault",
        takes: Number(REFUSED_ON_PURPOSE),
        says: "publications fail with this number in a SOAP 1.1 fault with OCSDiagnosticsFault",
        does: Web(|web, value| refuse(web, Route::SoapFault, value.count())),
    },
    Entry {
        name: "error-in-soap12-fault",
        takes: Number(REFUSED_ON_PURPOSE),
        says: "publications fail with this number in a SOAP 1.2 fault with OCSDiagnosticsFault",
        does: Web(|web, value| refuse(web, Route::Soap12Fault, value.count())),
    },
    Entry {
        name: "error-in-reply",
        takes: Number(REFUSED_ON_PURPOSE),
        says: "publications fail with this number in the ErrorInfo of a normal reply",
        does: Web(|web, value| refuse(web, Route::ErrorInfo, value.count())),
    },
    Entry {
        name: "not-sip-enabled",
        takes: Nothing,
        says: "no user may use Lync: 403 and 28000",
        does: Web(|web, _| {
            let users = web.users().iter().map(|user| user.sip.clone()).collect();
            web.faults().not_sip_enabled = users;
        }),
    },
    Entry {
        name: "sign-in-broken",
        takes: Times,
        says: "Windows authentication fails inside the service: 500 and 28001",
        does: Web(|web, value| web.faults().sign_in_broken = value.times()),
    },
    Entry {
        name: "password-wrong",
        takes: Times,
        says: "the right password is refused: 401 after a full handshake",
        does: Web(|web, value| web.faults().password_refused = value.times()),
    },
    Entry {
        name: "pin-wrong",
        takes: Times,
        says: "the right PIN is refused: LAB 99001",
        does: Web(|web, value| web.faults().pin_refused = value.times()),
    },
    Entry {
        name: "pin-locked",
        takes: Nothing,
        says: "every PIN is locked: LAB 99002",
        does: Web(|web, _| web.faults().pin_locked = true),
    },
    Entry {
        name: "key-size",
        takes: Number(4096),
        says: "keys have to be of N bits at least (4096): LAB 99004",
        does: Web(|web, value| web.settings().min_key_bits = value.count() as usize),
    },
    Entry {
        name: "entity-mismatch",
        takes: Times,
        says: "the certificate's user is said not to be the ticket's: LAB 99005",
        does: Web(|web, value| web.faults().entity_mismatch = value.times()),
    },
    Entry {
        name: "ticket-invalid",
        takes: Times,
        says: "the web ticket is called invalid: 28032",
        does: Web(|web, value| web.faults().ticket_invalid = value.times()),
    },
    Entry {
        name: "ticket-expired",
        takes: Times,
        says: "the web ticket is called expired: LAB 99007",
        does: Web(|web, value| web.faults().ticket_expired = value.times()),
    },
    Entry {
        name: "ticket-life",
        takes: Seconds,
        says: "web tickets live for so long; below zero they have ended when they are issued",
        does: Web(|web, value| web.settings().ticket_life = Duration::seconds(value.number())),
    },
    Entry {
        name: "ntlm-closed",
        takes: Times,
        says: "the connection is closed as soon as the NTLM challenge is out",
        does: Web(|web, value| web.faults().ntlm_hang_up = value.times()),
    },
    Entry {
        name: "ntlm-moved",
        takes: Times,
        says: "the NTLM answer reaches another front end, which knows of no challenge: a plain 401",
        does: Web(|web, value| web.faults().ntlm_moved = value.times()),
    },
    Entry {
        name: "only-ntlm",
        takes: Nothing,
        says: "Windows authentication offers NTLM and no Negotiate, as external web sites do",
        does: Web(|web, _| web.settings().windows = WindowsAuth::OnlyNtlmOffered),
    },
    Entry {
        name: "only-spnego",
        takes: Nothing,
        says: "Negotiate takes SPNEGO tokens and no bare NTLM message",
        does: Web(|web, _| web.settings().negotiate = Negotiate::OnlySpnego),
    },
    Entry {
        name: "basic-offered",
        takes: Nothing,
        says: "Windows authentication offers Basic too",
        does: Web(|web, _| web.settings().basic = true),
    },
    Entry {
        name: "channel-binding-required",
        takes: Nothing,
        says: "a Windows sign-in without the binding to its TLS connection is refused (Extended Protection)",
        does: Web(|web, _| web.settings().channel_binding = ChannelBinding::Required),
    },
    Entry {
        name: "cert-port-sha256",
        takes: Nothing,
        says: "sign-in by certificate wants RSA-SHA256 (Basic256Sha256) and no longer RSA-SHA1",
        does: Web(|web, _| web.settings().suite = Suite::Basic256Sha256),
    },
    Entry {
        name: "no-pin-port",
        takes: Nothing,
        says: "the pool does not offer PIN: the port is missing from the metadata",
        does: Web(|web, _| web.settings().pin = false),
    },
    Entry {
        name: "no-windows-port",
        takes: Nothing,
        says: "the pool does not offer Windows authentication: the port is missing from the metadata",
        does: Web(|web, _| web.settings().windows = WindowsAuth::Off),
    },
    Entry {
        name: "no-cert-port",
        takes: Nothing,
        says: "the pool does not offer sign-in by certificate: the port is missing from the metadata",
        does: Web(|web, _| web.settings().certificate = false),
    },
    Entry {
        name: "metadata-http",
        takes: Nothing,
        says: "the metadata names http addresses",
        does: Web(|web, _| web.faults().metadata = MetadataFault::Http),
    },
    Entry {
        name: "metadata-foreign-host",
        takes: Nothing,
        says: "the metadata names addresses at web.fabrikam.example",
        does: Web(|web, _| web.faults().metadata = MetadataFault::ForeignHost),
    },
    Entry {
        name: "front-end-ill",
        takes: Word(&["store", "down", "tickets"], "=store|down|tickets"),
        says: "fe01 of two front ends misses the data store, is down (503) or does not know the other's tickets",
        does: Web(|web, value| {
            let what = match value.word() {
                "store" => Ailment::Store,
                "down" => Ailment::Down,
                _ => Ailment::Tickets,
            };
            web.settings().front_ends = FrontEnds::Two;
            web.faults().ill = Some(Illness { server: FrontEnd::Fe01, what });
        }),
    },
    Entry {
        name: "clock",
        takes: Seconds,
        says: "the service's clock is so many seconds ahead, or behind with a minus",
        does: Web(|web, value| web.faults().clock_offset = Duration::seconds(value.number())),
    },
    Entry {
        name: "no-date",
        takes: Nothing,
        says: "answers have no Date",
        does: Web(|web, _| web.faults().no_date = Kind::ALL.into()),
    },
    Entry {
        name: "other-prefixes",
        takes: Nothing,
        says: "answers use other namespace prefixes and declare them further out: no fault, but often taken for one",
        does: Web(|web, _| web.faults().other_prefixes = true),
    },
    Entry {
        name: "wrapped-metadata",
        takes: Nothing,
        says: "metadata comes inside wsx:Metadata: no fault, but often taken for one",
        does: Web(|web, _| web.faults().wrapped_metadata = true),
    },
    Entry {
        name: "pkcs7-first",
        takes: Nothing,
        says: "a PKCS#7 with the issuer stands before the certificate: no fault, but often taken for one",
        does: Web(|web, _| web.faults().pkcs7 = true),
    },
    Entry {
        name: "certificate-of-another-key",
        takes: Nothing,
        says: "the issued certificate is for a key that nobody asked about",
        does: Web(|web, _| web.faults().certificate = CertificateFault::AnotherKey),
    },
    Entry {
        name: "certificate-of-another-user",
        takes: Nothing,
        says: "the issued certificate names mallory@contoso.example",
        does: Web(|web, _| web.faults().certificate = CertificateFault::AnotherUser),
    },
    Entry {
        name: "certificate-expired",
        takes: Nothing,
        says: "the issued certificate ended an hour ago",
        does: Web(|web, _| web.faults().certificate = CertificateFault::Expired),
    },
    Entry {
        name: "certificate-life",
        takes: Counted,
        says: "issued certificates end after N minutes",
        does: Web(|web, value| web.settings().validity = Duration::minutes(value.number())),
    },
    Entry {
        name: "chains",
        takes: Word(&["disabled", "other-root", "garbage", "huge"], "=disabled|other-root|garbage|huge"),
        says: "the root-chain download over plain http is switched off, lies, is no PKCS#7, or does not end",
        does: Web(|web, value| {
            web.faults().chains = match value.word() {
                "disabled" => ChainsFault::Disabled,
                "other-root" => ChainsFault::OtherRoot,
                "garbage" => ChainsFault::Garbage,
                _ => ChainsFault::Huge,
            };
        }),
    },
];

fn refuse(web: &WebServices, route: Route, id: u64) {
    web.faults().refused = Some((route, u32::try_from(id).unwrap_or(u32::MAX)));
}
