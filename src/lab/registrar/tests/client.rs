//! A client for the tests: every header of a message is the test's own to change.

use crate::lab::keys::random;
use crate::lab::registrar::ntlm::Signer;
use crate::lab::registrar::signature::{Fields, Hash, Party, hex, is_hex_of};
use crate::lab::{Lab, LabOptions};
use crate::registrar::challenge::{Authentication, Offer, Place, REALM, Scheme};
use crate::registrar::message::{Framer, Message};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub(super) const ALICE: &str = "alice@contoso.example";
pub(super) const INSTANCE: &str = "34d859db-6585-5f91-a3b4-de853c15347d";

/// A lab without phones, whose handshakes carry the whole chain.
pub(super) async fn lab(faults: &[&str]) -> Lab {
    let faults = ["whole-chain"].iter().chain(faults).map(|fault| fault.parse().unwrap()).collect();
    Lab::start(&LabOptions { phones: 0, fresh_keys: false, faults, ..LabOptions::default() }).await.unwrap()
}

/// One connection, and the endpoint that uses it.
pub(super) struct Client {
    stream: TlsStream<TcpStream>,
    framer: Framer,
    pub(super) user: String,
    pub(super) epid: String,
    call_id: String,
    tag: String,
    cseq: u32,
    pub(super) signed: Option<Signed>,
    pub(super) place: Place,
    root: Vec<u8>,
}

/// What both sides sign with.
pub(super) struct Signed {
    pub(super) scheme: Scheme,
    pub(super) opaque: String,
    pub(super) target: String,
    pub(super) keys: Keys,
    pub(super) cnum: u32,
}

pub(super) enum Keys {
    Dsk { client: Vec<u8>, server: Vec<u8>, hash: Hash },
    Ntlm(Signer),
}

fn config(root: &[u8]) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(root.to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
}

impl Client {
    pub(super) async fn connect(lab: &Lab) -> Self {
        Self::connect_to(lab, lab.registrar().address()).await
    }

    pub(super) async fn connect_to(lab: &Lab, address: SocketAddr) -> Self {
        let root = lab.web_root_der();
        let tcp = TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config(&root).with_no_client_auth()));
        let name = ServerName::try_from("localhost").unwrap();
        Self {
            stream: connector.connect(name, tcp).await.unwrap(),
            framer: Framer::new(),
            user: ALICE.to_owned(),
            epid: "c8ca638a15".to_owned(),
            call_id: hex(&random::<16>()),
            tag: hex(&random::<5>()),
            cseq: 0,
            signed: None,
            place: Place::Server,
            root,
        }
    }

    /// The next request of this endpoint, without credentials.
    pub(super) fn request(&mut self, method: &str) -> Message {
        self.cseq += 1;
        let (user, tag, epid) = (&self.user, &self.tag, &self.epid);
        Message::request(method, "sip:contoso.example")
            .with("Via", "SIP/2.0/TLS 192.0.2.50:50111;branch=z9hG4bK0A1B2C3D")
            .with("From", &format!("<sip:{user}>;tag={tag};epid={epid}"))
            .with("To", &format!("<sip:{user}>"))
            .with("Max-Forwards", "70")
            .with("CSeq", &format!("{} {method}", self.cseq))
            .with("User-Agent", "the lab's own test")
            .with("Call-ID", &self.call_id.clone())
            .with(
                "Contact",
                &format!("<sip:192.0.2.50:50111;transport=tls>;proxy=replace;+sip.instance=\"<urn:uuid:{INSTANCE}>\""),
            )
            .with("Event", "registration")
    }

    /// The same request with a signature by the association.
    pub(super) fn signed(&mut self, request: Message) -> Message {
        let signed = self.signed.as_mut().unwrap();
        signed.cnum += 1;
        let number = signed.cnum;
        self.signed_as(request, number)
    }

    pub(super) fn signed_as(&self, request: Message, number: u32) -> Message {
        let signed = self.signed.as_ref().unwrap();
        let (random, number) = (hex(&random::<4>()).to_lowercase(), number.to_string());
        let text = text(&request, signed, &random, &number);
        let response = match &signed.keys {
            Keys::Dsk { client, hash, .. } => hex(&hash.sign(client, &text)).to_lowercase(),
            Keys::Ntlm(signer) => signer.sign_as_client(&text),
        };
        let value = self
            .credentials(signed.scheme, &signed.target, Some(&signed.opaque))
            .with("crand", &random)
            .with("cnum", &number)
            .with("response", &response);
        request.with(self.place.credentials_header(), &value.to_string())
    }

    pub(super) fn credentials(&self, scheme: Scheme, target: &str, opaque: Option<&str>) -> Authentication {
        let value = Authentication::new(scheme.name()).with("qop", "auth");
        let value = match opaque {
            Some(opaque) => value.with("opaque", opaque),
            None => value,
        };
        value.with("realm", REALM).with("targetname", target)
    }

    pub(super) async fn send(&mut self, message: &Message) {
        self.raw(&message.to_bytes()).await;
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(super) async fn receive(&mut self) -> Message {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.framer.next_message().unwrap() {
                return message;
            }
            let length = self.stream.read(&mut buffer).await.unwrap();
            assert!(length > 0, "the registrar hung up");
            self.framer.feed(&buffer[..length]);
        }
    }

    pub(super) async fn ask(&mut self, request: &Message) -> Message {
        self.send(request).await;
        let answer = self.receive().await;
        assert_eq!(answer.header("CSeq"), request.header("CSeq"));
        answer
    }

    /// A REGISTER without credentials, and what is offered.
    pub(super) async fn offer(&mut self) -> (Message, Offer) {
        let request = self.request("REGISTER");
        let answer = self.ask(&request).await;
        let offer = Offer::read(&answer).unwrap();
        (answer, offer)
    }

    /// One leg of a handshake: what came back.
    pub(super) async fn leg(&mut self, scheme: Scheme, target: &str, opaque: Option<&str>, data: &[u8]) -> Message {
        let value = self.credentials(scheme, target, opaque).with_data(data).with_bare("version", 4);
        let request = self.request("REGISTER").with(self.place.credentials_header(), &value.to_string());
        self.ask(&request).await
    }

    /// TLS-DSK with rustls up to its end; the last answer where it did not come to one.
    pub(super) async fn shake(&mut self, certificate: &[u8], key: &[u8]) -> Result<Message, Message> {
        let (_, offer) = self.offer().await;
        let target = offer.of(Scheme::TlsDsk).expect("TLS-DSK is offered").targetname.clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_vec()));
        // That key and certificate belong together is the registrar's to find out.
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let identity = rustls::sign::CertifiedKey::new(vec![certificate.to_vec().into()], key);
        let identity = rustls::sign::SingleCertAndKey::from(identity);
        let config = config(&self.root).with_client_cert_resolver(Arc::new(identity));
        let name = ServerName::try_from(target.clone()).unwrap();
        let mut tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut opaque: Option<String> = None;
        let mut last = None;
        while tls.is_handshaking() {
            let mut data = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut data).unwrap();
            }
            let answer = self.leg(Scheme::TlsDsk, &target, opaque.as_deref(), &data).await;
            let offer = Offer::read(&answer).unwrap();
            let Some(challenge) = offer.of(Scheme::TlsDsk).filter(|challenge| challenge.data.is_some()) else {
                return Err(answer);
            };
            opaque = challenge.opaque.clone();
            let mut records = challenge.data.as_deref().unwrap();
            while !records.is_empty() {
                tls.read_tls(&mut records).unwrap();
                tls.process_new_packets().unwrap();
            }
            last = Some(answer);
        }
        let material = tls.export_keying_material([0; 128], b"client EAP encryption", None).unwrap();
        let hash = Hash::of_suite(&format!("{:?}", tls.negotiated_cipher_suite().unwrap().suite()));
        let keys = Keys::Dsk { client: material[64..96].to_vec(), server: material[96..].to_vec(), hash };
        self.signed = Some(Signed { scheme: Scheme::TlsDsk, opaque: opaque.unwrap(), target, keys, cnum: 0 });
        Ok(last.unwrap())
    }

    /// A signed request and its verified answer.
    pub(super) async fn serve(&mut self, request: Message) -> Message {
        let request = self.signed(request);
        let answer = self.ask(&request).await;
        assert!(self.verifies(&answer), "{answer:?}");
        answer
    }

    /// TLS-DSK to the signed answer of a REGISTER.
    pub(super) async fn sign_in(&mut self, certificate: &[u8], key: &[u8]) -> Message {
        self.shake(certificate, key).await.unwrap();
        let request = self.request("REGISTER");
        self.serve(request).await
    }

    pub(super) fn verifies(&self, answer: &Message) -> bool {
        let Some(line) = answer.header(self.place.info_header()) else { return false };
        let info = Authentication::read(line).unwrap().remove(0);
        let value = |name| info.get(name).unwrap_or_default();
        let signed = self.signed.as_ref().unwrap();
        let text = text(answer, signed, value("srand"), value("snum"));
        match &signed.keys {
            Keys::Dsk { server, hash, .. } => is_hex_of(value("rspauth"), &hash.sign(server, &text)),
            Keys::Ntlm(signer) => signer.sign(&text) == value("rspauth"),
        }
    }
}

fn text(message: &Message, signed: &Signed, random: &str, number: &str) -> String {
    let header = |name| message.header(name).unwrap_or_default();
    let (sequence, method) = header("CSeq").split_once(' ').unwrap();
    Fields {
        scheme: signed.scheme.name(),
        random,
        number,
        realm: REALM,
        target: &signed.target,
        call_id: header("Call-ID"),
        sequence,
        method,
        from: Party::read(header("From")),
        to: Party::read(header("To")),
        asserted: ("", ""),
        expires: header("Expires"),
        status: message.status(),
    }
    .text()
}
