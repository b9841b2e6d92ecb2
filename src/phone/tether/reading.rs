//! From the cable's messages to what the rest of the program knows: foreign values are checked here, once.

use super::exchange::shown;
use super::messages::{AnchorMap, IdentityMap, LogEntry, State, capability};
use crate::credential::{Fingerprint, KeyKind};
use crate::phone::{
    Abilities, AnchorHeld, ConsentWanted, Identity, IdentityInUse, Limits, LogLine, PendingTransaction, PhoneError,
    PhoneState, Settings, Step, TransactionId,
};
use crate::usb::MacAddress;
use time::OffsetDateTime;
use uuid::Uuid;

pub(super) fn kind_number(kind: KeyKind) -> u8 {
    match kind {
        KeyKind::Rsa2048 => 1,
        KeyKind::Rsa3072 => 2,
        KeyKind::P256 => 3,
    }
}

fn kind(number: u8) -> Option<KeyKind> {
    [KeyKind::Rsa2048, KeyKind::Rsa3072, KeyKind::P256].into_iter().find(|kind| kind_number(*kind) == number)
}

pub(super) fn identity(map: &IdentityMap) -> Result<Identity, PhoneError> {
    let has = |bit: u32| map.capabilities & bit != 0;
    let device = Uuid::from_bytes(*map.device);
    if device.is_nil() {
        let what = "its device UUID is nil".into();
        return Err(PhoneError::Protocol { during: Step::Identify, what });
    }
    let consent = match map.consent {
        0 => ConsentWanted::Nothing,
        1 => ConsentWanted::KeyPress,
        2 => ConsentWanted::AdministratorCode,
        other => {
            let what = format!("it wants consent of kind {other}");
            return Err(PhoneError::Protocol { during: Step::Identify, what });
        }
    };
    Ok(Identity {
        maker: shown(&map.maker),
        model: shown(&map.model),
        serial: shown(&map.serial),
        mac: MacAddress::from_bytes(*map.mac),
        firmware: shown(&map.firmware),
        device,
        abilities: Abilities {
            attention: has(capability::LIGHT | capability::SOUND | capability::SCREEN),
            screen: has(capability::SCREEN),
            clock: has(capability::CLOCK),
            sign_in: has(capability::SIGN_IN),
            restart: has(capability::RESTART),
            log: has(capability::LOG),
            handshake: has(capability::HANDSHAKE),
            endorses: has(capability::ENDORSE),
        },
        key_kinds: map.key_kinds.iter().filter_map(|number| kind(*number)).collect(),
        limits: Limits {
            certificate_bytes: map.max_certificate_bytes,
            intermediates: map.max_intermediates,
            free_anchors: map.free_anchors,
        },
        consent,
        host_known: map.host_known,
    })
}

pub(super) fn state(state: State, anchors: Vec<AnchorMap>) -> Result<PhoneState, PhoneError> {
    let identity = state.identity.map(|identity| {
        Ok::<_, PhoneError>(IdentityInUse {
            user: shown(&identity.user),
            fingerprint: Fingerprint::from_bytes(*identity.fingerprint),
            not_before: time(identity.not_before)?,
            not_after: time(identity.not_after)?,
            intermediates: identity.intermediates.iter().map(|f| Fingerprint::from_bytes(**f)).collect(),
            key: identity.key.and_then(kind),
        })
    });
    Ok(PhoneState {
        // A clock of nonsense is a clock that was never set.
        clock: state.clock.and_then(|clock| time(clock).ok()),
        identity: identity.transpose()?,
        pending: state.pending.map(|pending| PendingTransaction {
            id: TransactionId::from_bytes(*pending.id),
            user: shown(&pending.user),
            ours: pending.yours,
            host_label: shown(&pending.host_label),
            replaces: pending.replaces.map(|f| Fingerprint::from_bytes(*f)),
        }),
        committed: state.committed.map(|id| TransactionId::from_bytes(*id)),
        // Compared with what was sent, so as they are; who shows them escapes them.
        settings: state.settings.map(|settings| Settings {
            sip_uri: settings.sip_uri,
            registrar: settings.registrar,
            web_services: settings.web_services,
        }),
        anchors: anchors.iter().map(anchor).collect::<Result<_, _>>()?,
    })
}

fn anchor(map: &AnchorMap) -> Result<AnchorHeld, PhoneError> {
    Ok(AnchorHeld {
        fingerprint: Fingerprint::from_bytes(*map.fingerprint),
        key: Fingerprint::from_bytes(*map.key),
        subject: Fingerprint::from_bytes(*map.subject),
        not_after: time(map.not_after)?,
        installed: map.origin != 0,
        name: shown(&map.name),
    })
}

pub(super) fn log_line(entry: &LogEntry) -> LogLine {
    LogLine { index: entry.index, time: entry.time.and_then(|t| time(t).ok()), text: shown(&entry.text) }
}

/// Only what can be written down: RFC 3339 has the years 0 to 9999.
fn time(seconds: i64) -> Result<OffsetDateTime, PhoneError> {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok().filter(|time| (0..=9999).contains(&time.year()));
    time.ok_or_else(|| PhoneError::Protocol { during: Step::Look, what: format!("{seconds} is no time") })
}
