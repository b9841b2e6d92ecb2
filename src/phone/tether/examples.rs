//! The worked examples of docs/tether-protocol.md, recomputed. A fenced block ` ```hex name ` (or `diag`, `text`) of the
//! page holds what this code makes of `name`; where they differ, the test prints the blocks as they should be.

use super::binding::{self, ShortCode, Side};
use super::frames::{Frame, FrameKind, LinkState, Status};
use super::messages::*;
use super::session::{Hello, HostKey, hash_of, noise_builder, read_handshake, seal, unseal, write_handshake};
use crate::credential::Fingerprint;
use crate::lab::phone::{
    Hash, PhoneMaterial, StoredKey, signed_info, signing_request, tether_descriptors, timestamp, windows_descriptor_set,
};
use crate::service::{EndorsementAlgorithm, EndorsementTerms};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::data::Type;
use minicbor::decode::Decoder;
use std::collections::BTreeMap;
use std::sync::Arc;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509CertificationRequest};
use zeroize::Zeroizing;

const PAGE: &str = include_str!("../../../docs/tether-protocol.md");
const EPOCH: u16 = 0x1234;
const USER: &str = "alice@contoso.example";
/// Created and expires.
const ENDORSED: (i64, i64) = (1_780_000_000, 1_780_000_300);
/// Stands for a certificate.
const DER: [u8; 5] = [0x30, 3, 2, 1, 5];

/// The first line of a block without its backticks (`hex status`) to its lines.
type Blocks = BTreeMap<String, String>;

#[test]
fn every_example_of_the_page_is_what_this_code_makes() {
    let (page, code) = (blocks_of(PAGE), examples());
    let mut wrong = String::new();
    for (head, right) in &code {
        if page.get(head) != Some(right) {
            wrong += &format!("```{head}\n{right}```\n\n");
        }
    }
    assert!(wrong.is_empty(), "these blocks of the page should read:\n\n{wrong}");
    let unknown: Vec<_> = page.keys().filter(|head| !code.contains_key(*head)).collect();
    assert!(unknown.is_empty(), "the page has examples that nothing recomputes: {unknown:?}");
}

#[test]
fn every_error_number_is_in_the_pages_table_with_its_class() {
    use crate::phone::error::{RefusalClass, refusal_class};
    let rows = PAGE.split("### 8.2").nth(1).and_then(|rest| rest.split("### 8.3").next()).unwrap();
    let mut numbers = Vec::new();
    for row in rows.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let Ok(number) = cells[0].parse::<u16>() else { continue };
        let class = match refusal_class(number) {
            RefusalClass::Retry => "retry",
            RefusalClass::Fix => "fix",
            RefusalClass::Ask => "ask",
            RefusalClass::Bug => "bug",
        };
        assert_eq!(cells[2], class, "error {number}");
        numbers.push(number);
    }
    let ranges = [1..=7, 16..=19, 32..=37, 48..=59, 64..=66];
    assert_eq!(numbers, ranges.into_iter().flatten().collect::<Vec<u16>>());
}

#[test]
fn every_operation_is_in_the_pages_table_with_its_number() {
    for operation in operations().into_iter().map(|(_, operation)| operation).chain(others()) {
        let [0x82, number @ ..] = &*encode(&operation) else { panic!("an operation is an array of two") };
        let number = if number[0] == 0x18 { number[1] } else { number[0] };
        let row = format!("| {number} | {} |", operation.name());
        assert!(PAGE.contains(&row), "{row}");
    }
}

fn blocks_of(page: &str) -> Blocks {
    let mut blocks = Blocks::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(head) = line.strip_prefix("```") else { continue };
        let body: String = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
        if ["hex ", "diag ", "text "].iter().any(|kind| head.starts_with(kind)) {
            assert_eq!(blocks.insert(head.to_owned(), body), None, "{head} is on the page twice");
        }
    }
    blocks
}

fn examples() -> Blocks {
    let mut blocks = Blocks::new();
    usb(&mut blocks);
    session(&mut blocks);
    answers(&mut blocks);
    endorsement(&mut blocks);
    for (name, operation) in operations() {
        cbor(&mut blocks, &format!("request-{name}"), &encode_request(&[operation]));
    }
    blocks
}

fn hex(blocks: &mut Blocks, name: &str, bytes: &[u8]) {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ") + "\n";
    blocks.insert(format!("hex {name}"), bytes.chunks(16).map(line).collect());
}

/// A message as bytes and in diagnostic notation.
fn cbor(blocks: &mut Blocks, name: &str, bytes: &[u8]) {
    hex(blocks, name, bytes);
    diagnostic(blocks, name, bytes);
}

fn diagnostic(blocks: &mut Blocks, name: &str, bytes: &[u8]) {
    blocks.insert(format!("diag {name}"), format!("{}\n", shown(&mut Decoder::new(bytes))));
}

/// The next item in diagnostic notation (RFC 8949, section 8), of the kinds that the protocol has.
fn shown(decoder: &mut Decoder<'_>) -> String {
    let several = |items: Vec<String>| items.join(", ");
    match decoder.datatype().unwrap() {
        Type::Bytes => {
            let hex: String = decoder.bytes().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("h'{hex}'")
        }
        Type::String => format!("{:?}", decoder.str().unwrap()),
        Type::Bool => decoder.bool().unwrap().to_string(),
        Type::Array => {
            let count = decoder.array().unwrap().unwrap();
            format!("[{}]", several((0..count).map(|_| shown(decoder)).collect()))
        }
        Type::Map => {
            let count = decoder.map().unwrap().unwrap();
            let pair = |decoder: &mut Decoder<'_>| format!("{}: {}", shown(decoder), shown(decoder));
            format!("{{{}}}", several((0..count).map(|_| pair(decoder)).collect()))
        }
        _ => decoder.int().unwrap().to_string(),
    }
}

fn frame(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    Frame { kind, epoch: EPOCH, body: body.to_vec() }.encode()
}

fn usb(blocks: &mut Blocks) {
    let status = Status {
        lowest_version: 1,
        highest_version: 1,
        state: LinkState::Idle,
        epoch: EPOCH,
        pending: true,
        asks: false,
        last_error: 0,
        max_body_bytes: 32_768,
    };
    hex(blocks, "status", &status.encode());
    let descriptors = tether_descriptors(&material(), &[]);
    hex(blocks, "device-descriptor", &descriptors.device);
    hex(blocks, "configuration-descriptor", &descriptors.configuration);
    hex(blocks, "bos", &descriptors.bos.unwrap());
    hex(blocks, "windows-descriptor-set", &windows_descriptor_set(Some(0)));
    hex(blocks, "windows-descriptor-set-alone", &windows_descriptor_set(None));
    hex(blocks, "working-frame", &frame(FrameKind::Working, &[]));
    let error = encode_answer(&[Outcome::failed(code::NO_SESSION, "there is no session")]);
    hex(blocks, "error-frame", &frame(FrameKind::Error, &error));
    diagnostic(blocks, "error-frame-body", &error);
}

fn material() -> PhoneMaterial {
    PhoneMaterial::new(1, Arc::new(|_| Zeroizing::default()))
}

fn session(blocks: &mut Blocks) {
    let (host_nonce, phone_nonce) = ([0x55; 32], [0x66; 32]);
    let host_key = HostKey::known([0x11; 32]);
    let (hello, body) = Hello::with_ephemeral(&host_key, Some(&[0x22; 32])).unwrap();
    let prologue = binding::prologue(&body[..2]);
    hex(blocks, "prologue", &prologue);
    hex(blocks, "hello-frame", &frame(FrameKind::Hello, &body));

    let mut phone = noise_builder()
        .local_private_key(&[0x33; 32])
        .unwrap()
        .prologue(&prologue)
        .unwrap()
        .fixed_ephemeral_key_for_testing_only(&[0x44; 32])
        .build_responder()
        .unwrap();
    assert_eq!(read_handshake(&mut phone, &body[2..]).unwrap(), b"");
    let payload = encode(&HelloAnswer { version: 1, max_body_bytes: 32_768 });
    cbor(blocks, "hello-answer-payload", &payload);
    let body = write_handshake(&mut phone, &payload).unwrap();
    hex(blocks, "hello-answer-frame", &frame(FrameKind::HelloAnswer, &body));

    let (opening, _) = hello.answered(&body).unwrap();
    let (mut host, body) = opening.open("station 3", host_nonce).unwrap();
    let payload = read_handshake(&mut phone, &body).unwrap();
    cbor(blocks, "open-payload", &payload);
    hex(blocks, "open-frame", &frame(FrameKind::Open, &body));
    let hash = hash_of(&phone);
    assert_eq!(&hash, host.handshake_hash());
    let mut phone = phone.into_transport_mode().unwrap();

    let phone_commitment = binding::commitment(Side::Phone, &phone_nonce);
    hex(blocks, "handshake-hash", &hash);
    hex(blocks, "host-commitment", &binding::commitment(Side::Host, &host_nonce));
    hex(blocks, "phone-commitment", &phone_commitment);
    let code = ShortCode::new(&hash, &host_nonce, &phone_nonce);
    blocks.insert("text short-code".into(), format!("{code}\n"));
    hex(blocks, "device-proof-message", &binding::device_proof_message(&hash));
    let leaf = Fingerprint::from_bytes([0x88; 32]);
    hex(blocks, "possession-message", &binding::possession_message(&hash, &[0x77; 32], &leaf));

    let open_answer = OpenAnswer { identity: identity(), commitment: phone_commitment.into(), proof: None };
    let open_answer = encode(&open_answer);
    cbor(blocks, "open-answer", &open_answer);
    let body = seal(&mut phone, &open_answer).unwrap();
    hex(blocks, "open-answer-frame", &frame(FrameKind::OpenAnswer, &body));
    assert_eq!(host.unseal(&body).unwrap(), open_answer);

    let look =
        encode_request(&[Operation::State {}, Operation::Anchors { start: 0 }, Operation::Attention { seconds: 20 }]);
    cbor(blocks, "look-request", &look);
    let body = host.seal(&look).unwrap();
    hex(blocks, "look-request-frame", &frame(FrameKind::Request, &body));
    assert_eq!(unseal(&mut phone, &body).unwrap(), look);

    let state = State {
        clock: Some(1_199_145_600),
        identity: None,
        pending: None,
        committed: None,
        settings: None,
        anchors: 0,
    };
    let anchors = AnchorPage { anchors: Vec::new(), total: 0 };
    let answer = encode_answer(&[Outcome::done(&state), Outcome::done(&anchors), Outcome::done(&Nothing {})]);
    cbor(blocks, "look-answer", &answer);
    hex(blocks, "look-answer-frame", &frame(FrameKind::Answer, &seal(&mut phone, &answer).unwrap()));
}

fn identity() -> IdentityMap {
    IdentityMap {
        maker: "Acme".into(),
        model: "Desk 2".into(),
        serial: "LAB00001".into(),
        mac: [0x00, 0x04, 0xf2, 0xaa, 0xbb, 0x01].into(),
        firmware: "2.4.1".into(),
        device: [0xd0; 16].into(),
        capabilities: capability::LIGHT | capability::SCREEN | capability::KEYS | capability::CLOCK,
        key_kinds: vec![1, 2, 3],
        max_certificate_bytes: 8192,
        max_intermediates: 4,
        free_anchors: 8,
        consent: 1,
        host_known: false,
    }
}

fn answers(blocks: &mut Blocks) {
    cbor(blocks, "state-answer", &encode_answer(&[Outcome::done(&full_state())]));
    hex(blocks, "certification-request-info", &certification_request_info());
    let failed = [Outcome::done(&Nothing {}), Outcome::failed(code::KEY_KIND, "no keys of kind 9")];
    cbor(blocks, "failed-answer", &encode_answer(&failed));
    let problem = Problem { text: "wrong administrator code".into(), tries_left: Some(2), pending: None };
    cbor(blocks, "wrong-code-answer", &encode_answer(&[Outcome::Failed(code::WRONG_CODE, problem)]));
    let pending = PendingMap {
        id: [0xee; 16].into(),
        user: "bob@contoso.example".into(),
        step: 2,
        yours: false,
        host_label: "station 1".into(),
        replaces: None,
    };
    let problem = Problem { text: "another is pending".into(), tries_left: None, pending: Some(pending) };
    cbor(blocks, "other-pending-answer", &encode_answer(&[Outcome::Failed(code::OTHER_PENDING, problem)]));
}

fn full_state() -> State {
    State {
        clock: Some(1_780_000_000),
        identity: Some(CurrentIdentity {
            user: USER.into(),
            fingerprint: [0x88; 32].into(),
            not_before: 1_767_225_600,
            not_after: 1_782_864_000,
            intermediates: vec![[0xbb; 32].into()],
            key: Some(1),
        }),
        pending: Some(PendingMap {
            id: std::array::from_fn(|at| at as u8).into(),
            user: USER.into(),
            step: 2,
            yours: true,
            host_label: "station 3".into(),
            replaces: Some([0x88; 32].into()),
        }),
        committed: Some([0xcc; 16].into()),
        settings: Some(settings()),
        anchors: 3,
    }
}

fn settings() -> SettingsMap {
    SettingsMap {
        sip_uri: format!("sip:{USER}"),
        registrar: Some("sip.contoso.example:5061".into()),
        web_services: "https://web.contoso.example/CertProv/CertProvisioningService.svc".into(),
    }
}

/// What the lab's phone signs with a known key.
fn certification_request_info() -> Vec<u8> {
    // PKCS#8 of a key on P-256 (RFC 5958; RFC 5915 without the public key).
    let head = "3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420";
    let head = (0..head.len()).step_by(2).map(|at| u8::from_str_radix(&head[at..at + 2], 16).unwrap());
    let pkcs8: Vec<u8> = head.chain([0x99; 32]).collect();
    let request = signing_request(&StoredKey { kind: 3, pkcs8: pkcs8.into() }, USER).unwrap();
    let (_, request) = X509CertificationRequest::from_der(&request).unwrap();
    request.certification_request_info.raw.to_vec()
}

/// The texts as the lab's phone writes them; the host writes the same.
fn endorsement(blocks: &mut Blocks) {
    let (created, expires) = ENDORSED;
    let written = timestamp(created, expires).unwrap();
    blocks.insert("text endorsed-timestamp".into(), format!("{written}\n"));
    let hashes = [
        ("sha256", Hash::Sha256, EndorsementAlgorithm::RsaSha256),
        ("sha1", Hash::Sha1, EndorsementAlgorithm::RsaSha1),
    ];
    for (name, hash, algorithm) in hashes {
        let [created, expires] = [created, expires].map(|time| OffsetDateTime::from_unix_timestamp(time).unwrap());
        let terms = EndorsementTerms { created, expires, algorithm };
        let text = signed_info(&written, hash);
        assert_eq!((&terms.timestamp(), &terms.signed_info()), (&written, &text));
        blocks.insert(format!("text endorsed-signed-info-{name}"), format!("{text}\n"));
    }
    let endorsed = EndorsedMap { fingerprint: [0x88; 32].into(), signature: vec![1, 2, 3, 4].into() };
    cbor(blocks, "endorse-answer", &encode_answer(&[Outcome::done(&endorsed)]));
}

fn operations() -> Vec<(&'static str, Operation)> {
    let id: ByteArray<16> = std::array::from_fn(|at| at as u8).into();
    let certificate = ByteVec::from(DER.to_vec());
    vec![
        ("set-clock", Operation::SetClock { time: 1_780_000_000 }),
        ("show-code", Operation::ShowCode { nonce: [0x55; 32].into() }),
        ("consent-key", Operation::Consent { code: None }),
        ("consent-code", Operation::Consent { code: Some("2580".into()) }),
        ("begin-first", Operation::Begin { id, user: USER.into(), replaces: None }),
        ("begin-replacing", Operation::Begin { id, user: USER.into(), replaces: Some([0x88; 32].into()) }),
        ("make-key", Operation::MakeKey { id, kind: 1 }),
        ("signing-request", Operation::SigningRequest { id, common_name: USER.into(), hash: 0 }),
        (
            "stage",
            Operation::Stage {
                id,
                role: 2,
                fingerprint: (*Fingerprint::of(&DER).as_bytes()).into(),
                certificate: certificate.clone(),
            },
        ),
        ("settings", Operation::Settings { id, settings: settings() }),
        ("check", Operation::Check { id, server_chain: vec![certificate], server_name: "web.contoso.example".into() }),
        ("commit", Operation::Commit { id }),
        ("abort", Operation::Abort { id }),
        ("prove", Operation::Prove { nonce: [0x77; 32].into() }),
        ("endorse-sha256", Operation::Endorse { created: ENDORSED.0, expires: ENDORSED.1, hash: 0 }),
        ("endorse-sha1", Operation::Endorse { created: ENDORSED.0, expires: ENDORSED.1, hash: 1 }),
        ("leave", Operation::Leave {}),
    ]
}

/// The operations that the page has no example of.
fn others() -> Vec<Operation> {
    vec![
        Operation::State {},
        Operation::Anchors { start: 0 },
        Operation::ReadCertificate { fingerprint: [0; 32].into() },
        Operation::Attention { seconds: 0 },
        Operation::Log { start: 0 },
        Operation::SignHandshake { transcript: Vec::new().into(), scheme: 0x0401 },
        Operation::SignIn {},
        Operation::Restart {},
        Operation::RemoveIdentity { fingerprint: [0; 32].into() },
    ]
}
