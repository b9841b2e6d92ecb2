//! Who may change the phone, and how a person tells it from its neighbours.

use super::*;

/// How many hosts the phone remembers.
const KNOWN_HOSTS: usize = 8;

const MAX_CODE_BYTES: usize = 64;

/// How many short codes are shown in [`CODES_WITHIN`]: somebody between who opens session after session until a code
/// fits the one on the host's screen is stopped.
const CODES: usize = 20;
const CODES_WITHIN: Duration = Duration::from_secs(600);

/// How long somebody at the phone has to press a key.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn changing(peer: &Peer) -> Result<(), Stop> {
    if peer.consented { Ok(()) } else { refuse(code::CONSENT_NEEDED, "consent is needed first") }
}

pub(super) fn supports(inside: &Inside, wanted: u32, what: &str) -> Result<(), Stop> {
    if inside.material.capabilities & wanted != 0 {
        Ok(())
    } else {
        refuse(code::UNSUPPORTED, format!("this phone has no {what}"))
    }
}

pub(super) fn show_code(inside: &mut Inside, peer: &mut Peer, nonce: &[u8; 32]) -> Result<Vec<u8>, Stop> {
    supports(inside, capability::SCREEN, "screen")?;
    if binding::commitment(Side::Host, nonce) != peer.host_commitment {
        return refuse(code::BROKEN_COMMITMENT, "the nonce is not the one committed to");
    }
    if peer.code_shown {
        return refuse(code::OUT_OF_ORDER, "the code of this session was shown already");
    }
    let now = Instant::now();
    inside.codes_shown.retain(|shown| now.duration_since(*shown) < CODES_WITHIN);
    if inside.codes_shown.len() >= CODES {
        return refuse(code::CODE_LATER, "too many short codes were shown; wait some minutes");
    }
    inside.codes_shown.push(now);
    peer.code_shown = true;
    inside.code = Some(ShortCode::new(&peer.handshake_hash, nonce, &peer.nonce));
    inside.panel.show_code(inside.code.as_ref());
    let revealed = inside.nature.reveal(peer.nonce);
    answer(&Revealed { nonce: revealed.into() })
}

pub(super) async fn consent(phone: &Phone, peer: &mut Peer, given: Option<String>) -> Result<Vec<u8>, Stop> {
    let asked = {
        let mut inside = phone.lock();
        (inside.material.consent == Consent::Ask && given.is_none()).then(|| {
            inside.asking = true;
            (inside.panel.ask(&peer.host_label), Question(phone.clone()))
        })
    };
    let agreed = match asked {
        Some((agreement, _question)) => tokio::time::timeout(PATIENCE, agreement).await.unwrap_or(false),
        None => false,
    };
    take_consent(&mut phone.lock(), peer, given, agreed)
}

/// Somebody at the phone is asked; dropped when that is over, answered or not.
struct Question(Phone);

impl Drop for Question {
    fn drop(&mut self) {
        self.0.lock().asking = false;
    }
}

fn take_consent(inside: &mut Inside, peer: &mut Peer, given: Option<String>, agreed: bool) -> Result<Vec<u8>, Stop> {
    let mut memory = inside.memory();
    match (&inside.material.consent, given) {
        (Consent::None, _) | (Consent::Press { agrees: true }, None) => {}
        (Consent::Ask, None) if agreed => {}
        (Consent::Ask | Consent::Press { agrees: false }, None) => {
            return refuse(code::DECLINED, "the person at the phone declined");
        }
        (Consent::Press { .. } | Consent::Ask, Some(_)) => {
            return refuse(code::NOT_ACCEPTED, "this phone wants a key pressed, not a code");
        }
        (Consent::Code { .. }, None) => {
            return refuse(code::CONSENT_NEEDED, "this phone wants its administrator code");
        }
        (Consent::Code { .. }, Some(given)) if given.len() > MAX_CODE_BYTES || plain(&given).is_err() => {
            return refuse(code::NOT_ACCEPTED, format!("a code is a text of at most {MAX_CODE_BYTES} bytes"));
        }
        (Consent::Code { tries, .. }, Some(_)) if memory.wrong_codes >= *tries => {
            return refuse(code::CODE_LOCKED, "the administrator code is locked; reset it at the phone");
        }
        (Consent::Code { code, .. }, Some(given)) if *code == given => memory.wrong_codes = 0,
        (Consent::Code { tries, .. }, Some(_)) => {
            memory.wrong_codes += 1;
            let tries_left = tries.saturating_sub(memory.wrong_codes);
            save(inside, &memory)?;
            inside.write_log("wrong administrator code over USB");
            let problem =
                Problem { text: "wrong administrator code".into(), tries_left: Some(tries_left), pending: None };
            return Err(Stop::Problem(code::WRONG_CODE, problem.into()));
        }
    }
    memory.known_hosts.retain(|known| **known != peer.host_key);
    memory.known_hosts.push(peer.host_key.into());
    let surplus = memory.known_hosts.len().saturating_sub(KNOWN_HOSTS);
    memory.known_hosts.drain(..surplus);
    save(inside, &memory)?;
    peer.consented = true;
    peer.agreed_here = true;
    peer.may_sign = true;
    let line = format!("host {} may set up this phone", peer.host_label);
    inside.write_log(line);
    nothing()
}

pub(super) fn attention(inside: &mut Inside, seconds: u64) -> Result<Vec<u8>, Stop> {
    supports(inside, capability::LIGHT | capability::SOUND | capability::SCREEN, "way to draw attention")?;
    let seconds = match i64::try_from(seconds) {
        Ok(seconds @ 0..=120) => seconds,
        _ => return refuse(code::NOT_ACCEPTED, "attention lasts at most 120 seconds"),
    };
    if seconds > 0 {
        inside.times_lit += 1;
    }
    inside.panel.attention(Duration::from_secs(seconds.unsigned_abs()));
    nothing()
}

pub(super) fn set_clock(inside: &mut Inside, peer: &Peer, time: i64) -> Result<Vec<u8>, Stop> {
    changing(peer)?;
    if inside.material.capabilities & capability::CLOCK == 0 {
        return refuse(code::CLOCK_FIXED, "this phone's clock is set by its network alone");
    }
    match OffsetDateTime::from_unix_timestamp(time) {
        Ok(time) => {
            // The dates and the server were judged by the old time.
            let mut memory = inside.memory();
            if let Some(pending) = memory.pending.as_mut().filter(|pending| pending.checked) {
                pending.checked = false;
                save(inside, &memory)?;
            }
            let offset = (time - OffsetDateTime::now_utc()).whole_seconds();
            let kept = inside.storage.keep_clock(offset);
            stored(inside, kept)?;
            inside.clock_offset = Some(offset);
            nothing()
        }
        Err(_) => refuse(code::NOT_ACCEPTED, "no such time"),
    }
}
