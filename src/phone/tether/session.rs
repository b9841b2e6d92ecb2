//! The host's end of the encrypted session: Noise XX, then sealed messages (docs/tether-protocol.md, section 4).

use super::binding::{self, Side};
use super::messages::{self, HelloAnswer, Open, VERSION};
use aws_lc_rs::agreement;
use snow::{Builder, HandshakeState, TransportState};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The longest plaintext of one sealed message: a Noise message less its tag.
pub const MAX_PLAINTEXT_BYTES: usize = super::frames::MAX_BODY_BYTES - TAG_BYTES;
/// The longest host label, characters.
const HOST_LABEL_CHARACTERS: usize = 32;
/// A public key of the handshake.
pub const KEY_BYTES: usize = 32;
/// What sealing adds.
pub const TAG_BYTES: usize = 16;

/// This host's static key, by which a phone knows it again.
pub struct HostKey(Zeroizing<[u8; 32]>);

/// Why the host's key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("this computer's key for the cable cannot be used: {}", path.display())]
pub struct HostKeyError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl HostKeyError {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        "make the file readable and writable by this user alone, or move it away: phones then ask for consent once more"
    }
}

impl HostKey {
    /// A key that lives as long as this value.
    pub fn ephemeral() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(key.as_mut_slice()).expect("the system gives random bytes");
        Self(key)
    }

    /// A key that everybody knows, for the worked examples of the protocol's page.
    #[cfg(test)]
    pub(super) fn known(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// The key in `path`, made on first use, readable by its owner alone.
    pub fn load_or_create(path: &Path) -> Result<Self, HostKeyError> {
        let error = |source| HostKeyError { path: path.to_owned(), source };
        match fs::read(path) {
            Ok(bytes) => {
                let bytes = Zeroizing::new(bytes);
                let key = bytes.as_slice().try_into().map_err(|_| {
                    error(io::Error::new(io::ErrorKind::InvalidData, "the file does not hold 32 bytes"))
                })?;
                Ok(Self(Zeroizing::new(key)))
            }
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                let key = Self::ephemeral();
                key.store(path).map_err(error)?;
                Ok(key)
            }
            Err(other) => Err(error(other)),
        }
    }

    fn store(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        // Written beside and renamed, so that a power cut leaves no half key.
        let mut file = tempfile::Builder::new().prefix(".host-key").tempfile_in(folder)?;
        file.write_all(self.0.as_slice())?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        Ok(())
    }
}

/// A failed handshake or a message that does not decrypt. Says nothing more on purpose.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A handshake message was not accepted.
    #[error("the session's handshake failed")]
    Handshake,
    /// A message was altered, replayed, or lost before.
    #[error("a message of the session does not decrypt")]
    Decrypt,
    /// The phone chose a version that was not offered.
    #[error("the phone chose protocol version {0}, which was not offered")]
    Version(u8),
    /// The message decrypts and is not what the protocol says.
    #[error("a message of the session is malformed")]
    Malformed(#[source] minicbor::decode::Error),
    /// The message is longer than the phone takes.
    #[error("a message of {0} bytes is longer than the phone takes")]
    TooLong(usize),
}

/// Before the phone's answer to the hello.
pub struct Hello {
    noise: HandshakeState,
}

impl Hello {
    /// Begins a session; the second value is the hello's body.
    pub fn new(host: &HostKey) -> Result<(Self, Vec<u8>), SessionError> {
        Self::with_ephemeral(host, None)
    }

    /// As [`Hello::new`], with a chosen ephemeral key for the worked examples of the protocol's page.
    pub(super) fn with_ephemeral(host: &HostKey, key: Option<&[u8; 32]>) -> Result<(Self, Vec<u8>), SessionError> {
        let mut body = vec![1, VERSION];
        let prologue = binding::prologue(&body);
        let mut builder = noise_builder()
            .local_private_key(host.0.as_slice())
            .and_then(|builder| builder.prologue(&prologue))
            .map_err(|_| SessionError::Handshake)?;
        if let Some(key) = key {
            builder = builder.fixed_ephemeral_key_for_testing_only(key);
        }
        let mut noise = builder.build_initiator().map_err(|_| SessionError::Handshake)?;
        body.extend(write_handshake(&mut noise, &[])?);
        Ok((Self { noise }, body))
    }

    /// Takes the phone's answer.
    pub fn answered(mut self, body: &[u8]) -> Result<(Opening, HelloAnswer), SessionError> {
        let payload = read_handshake(&mut self.noise, body)?;
        let (ephemeral, fixed) = (body.get(..KEY_BYTES), self.noise.get_remote_static());
        if !ephemeral.is_some_and(contributes) || !fixed.is_some_and(contributes) {
            return Err(SessionError::Handshake);
        }
        let answer: HelloAnswer = messages::decode(&payload).map_err(SessionError::Malformed)?;
        if answer.version != VERSION {
            return Err(SessionError::Version(answer.version));
        }
        Ok((Opening { noise: self.noise }, answer))
    }
}

/// Before the host's last handshake message.
pub struct Opening {
    noise: HandshakeState,
}

impl Opening {
    /// Ends the handshake; the second value is the body to send. `nonce` is the host's part of the short code.
    pub fn open(mut self, host_label: &str, nonce: [u8; 32]) -> Result<(Session, Vec<u8>), SessionError> {
        let commitment = binding::commitment(Side::Host, &nonce).into();
        let host_label = host_label.chars().take(HOST_LABEL_CHARACTERS).collect();
        let payload = messages::encode(&Open { host_label, commitment });
        let body = write_handshake(&mut self.noise, &payload)?;
        let handshake_hash = hash_of(&self.noise);
        let transport = self.noise.into_transport_mode().map_err(|_| SessionError::Handshake)?;
        Ok((Session { transport, handshake_hash, nonce }, body))
    }
}

/// An open session.
pub struct Session {
    transport: TransportState,
    handshake_hash: [u8; 32],
    nonce: [u8; 32],
}

impl Session {
    /// Names this session and no other: what proofs are bound to.
    pub fn handshake_hash(&self) -> &[u8; 32] {
        &self.handshake_hash
    }

    /// The phone's static key: who holds it made this session. It vouches for nothing else.
    pub fn phone_key(&self) -> &[u8] {
        self.transport.get_remote_static().expect("the handshake brings the key of the other side")
    }

    /// The host's nonce of the short code; it leaves the host only after the phone has committed to its own.
    pub fn nonce(&self) -> &[u8; 32] {
        &self.nonce
    }

    /// Encrypts the next message.
    pub fn seal(&mut self, plaintext: &[u8]) -> Result<Vec<u8>, SessionError> {
        seal(&mut self.transport, plaintext)
    }

    /// Decrypts the next message.
    pub fn unseal(&mut self, body: &[u8]) -> Result<Vec<u8>, SessionError> {
        unseal(&mut self.transport, body)
    }
}

/// A builder for [`binding::NOISE`].
pub fn noise_builder<'a>() -> Builder<'a> {
    Builder::new(binding::NOISE.parse().expect("the Noise name is well formed"))
}

/// Writes the next handshake message.
pub fn write_handshake(noise: &mut HandshakeState, payload: &[u8]) -> Result<Vec<u8>, SessionError> {
    // A handshake message has at most two keys of 32 bytes and two tags beside its payload.
    let mut message = vec![0; payload.len() + 128];
    let length = noise.write_message(payload, &mut message).map_err(|_| SessionError::Handshake)?;
    message.truncate(length);
    Ok(message)
}

/// Reads the next handshake message and gives its payload.
pub fn read_handshake(noise: &mut HandshakeState, message: &[u8]) -> Result<Vec<u8>, SessionError> {
    let mut payload = vec![0; message.len()];
    let length = noise.read_message(message, &mut payload).map_err(|_| SessionError::Handshake)?;
    payload.truncate(length);
    Ok(payload)
}

/// Whether secrets shared with this Curve25519 key depend on both sides. For a few keys, the zero point among them, they
/// are zero whatever the other key (RFC 7748, section 6.1), and Noise does not look.
pub fn contributes(key: &[u8]) -> bool {
    let own = agreement::PrivateKey::generate(&agreement::X25519).expect("the system makes keys");
    agreement::agree(&own, agreement::UnparsedPublicKey::new(&agreement::X25519, key), (), |_| Ok(())).is_ok()
}

/// Encrypts the next message of a session.
pub fn seal(transport: &mut TransportState, plaintext: &[u8]) -> Result<Vec<u8>, SessionError> {
    let mut body = vec![0; plaintext.len() + TAG_BYTES];
    let length = transport.write_message(plaintext, &mut body).map_err(|_| SessionError::TooLong(plaintext.len()))?;
    body.truncate(length);
    Ok(body)
}

/// Decrypts the next message of a session.
pub fn unseal(transport: &mut TransportState, body: &[u8]) -> Result<Vec<u8>, SessionError> {
    let mut plaintext = vec![0; body.len()];
    let length = transport.read_message(body, &mut plaintext).map_err(|_| SessionError::Decrypt)?;
    plaintext.truncate(length);
    Ok(plaintext)
}

/// The handshake hash as it stands.
pub fn hash_of(noise: &HandshakeState) -> [u8; 32] {
    noise.get_handshake_hash().try_into().expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_make_every_secret_zero_do_not_contribute() {
        let mut one = [0; KEY_BYTES];
        one[0] = 1;
        // 2^255 - 20, which is -1: of order 4.
        let mut minus_one = [0xff; KEY_BYTES];
        (minus_one[0], minus_one[KEY_BYTES - 1]) = (0xec, 0x7f);
        for key in [[0; KEY_BYTES], one, minus_one] {
            assert!(!contributes(&key), "{key:02x?}");
        }
        let mut base = [0; KEY_BYTES];
        base[0] = 9;
        assert!(contributes(&base));
        assert!(!contributes(&base[1..]), "too short");
    }
}
