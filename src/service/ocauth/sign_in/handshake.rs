//! The client's side of Windows authentication in HTTP (RFC 4559, [MS-NTHT], [MS-SPNG]): tokens out, tokens in.
//!
//! SPNEGO has NTLM as its only mechanism here: Kerberos needs a domain controller that is reached and a clock that it
//! agrees with, which is not what a laptop without domain join has. Signing is asked for with it, as Windows does, so that
//! the list of mechanisms can be protected by its `mechListMIC`.

use super::super::error::ServiceError;
use super::bad_login;
use secrecy::{ExposeSecret, SecretString};
use sspi::ntlm::NtlmConfig;
use sspi::{
    AuthIdentity, AuthIdentityBuffers, BufferType, ClientRequestFlags, CredentialUse, Credentials, CredentialsBuffers,
    DataRepresentation, Negotiate, NegotiateConfig, Ntlm, SecurityBuffer, Sspi, SspiImpl, Username,
};

/// The packages that SPNEGO may choose from.
const PACKAGES: &str = "ntlm,!kerberos,!pku2u";

/// How the messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dress {
    /// NTLM under its own name.
    Ntlm,
    /// SPNEGO under the name Negotiate.
    Spnego,
    /// NTLM without SPNEGO around it, under the name Negotiate: Windows servers take it, and others know no SPNEGO.
    BareNegotiate,
}

impl Dress {
    /// The scheme in HTTP.
    pub(super) fn scheme(self) -> &'static str {
        match self {
            Self::Ntlm => "NTLM",
            Self::Spnego | Self::BareNegotiate => "Negotiate",
        }
    }
}

/// One handshake on one connection.
pub(super) struct Handshake {
    package: Package,
    target: String,
}

enum Package {
    Ntlm(Box<Ntlm>, Option<AuthIdentityBuffers>),
    Spnego(Box<Negotiate>, Option<CredentialsBuffers>),
}

impl Handshake {
    /// For `login` (`CONTOSO\alice` or `alice@contoso.example`) at `host`.
    pub(super) fn new(dress: Dress, login: &str, password: &SecretString, host: &str) -> Result<Self, ServiceError> {
        if login.is_empty() || login.chars().any(char::is_control) {
            return Err(bad_login(login));
        }
        let username = Username::parse(login).map_err(|_| bad_login(login))?;
        let identity = AuthIdentity { username, password: password.expose_secret().to_owned().into() };
        let package = match dress {
            Dress::Ntlm | Dress::BareNegotiate => Package::ntlm(&identity),
            Dress::Spnego => Package::spnego(identity),
        };
        Ok(Self { package: package.map_err(|_| bad_login(login))?, target: format!("HTTP/{host}") })
    }

    /// The first message.
    pub(super) fn begin(&mut self) -> Result<Vec<u8>, sspi::Error> {
        self.step(vec![SecurityBuffer::new(Vec::new(), BufferType::Token)])
    }

    /// The answer to a challenge, tied to the TLS channel by its `tls-server-end-point` binding (RFC 5929) where the TLS
    /// engine knows that: its hash stands in the message as `MsvAvChannelBindings` ([MS-NLMP] 2.2.2.1).
    pub(super) fn answer(&mut self, challenge: Vec<u8>, binding: Option<&[u8]>) -> Result<Vec<u8>, sspi::Error> {
        let mut input = vec![SecurityBuffer::new(challenge, BufferType::Token)];
        input.extend(binding.map(|data| SecurityBuffer::new(channel_bindings(data), BufferType::ChannelBindings)));
        self.step(input)
    }

    fn step(&mut self, mut input: Vec<SecurityBuffer>) -> Result<Vec<u8>, sspi::Error> {
        let mut output = vec![SecurityBuffer::new(Vec::new(), BufferType::Token)];
        match &mut self.package {
            Package::Ntlm(ntlm, credential) => {
                let mut builder = ntlm
                    .initialize_security_context()
                    .with_credentials_handle(credential)
                    .with_context_requirements(ClientRequestFlags::ALLOCATE_MEMORY)
                    .with_target_data_representation(DataRepresentation::Native)
                    .with_target_name(&self.target)
                    .with_input(&mut input)
                    .with_output(&mut output);
                ntlm.initialize_security_context_impl(&mut builder)?.resolve_to_result()?;
            }
            Package::Spnego(negotiate, credential) => {
                let flags = ClientRequestFlags::ALLOCATE_MEMORY | ClientRequestFlags::INTEGRITY;
                let mut builder = negotiate
                    .initialize_security_context()
                    .with_credentials_handle(credential)
                    .with_context_requirements(flags)
                    .with_target_data_representation(DataRepresentation::Native)
                    .with_target_name(&self.target)
                    .with_input(&mut input)
                    .with_output(&mut output);
                // Without Kerberos it never asks for the network, and so it comes to its end by itself.
                negotiate.initialize_security_context_impl(&mut builder)?.resolve_to_result()?;
            }
        }
        Ok(output.pop().map(|token| token.buffer).unwrap_or_default())
    }
}

impl Package {
    fn ntlm(identity: &AuthIdentity) -> Result<Self, sspi::Error> {
        let mut ntlm = Ntlm::new();
        let acquired = ntlm
            .acquire_credentials_handle()
            .with_credential_use(CredentialUse::Outbound)
            .with_auth_data(identity)
            .execute(&mut ntlm)?;
        Ok(Self::Ntlm(Box::new(ntlm), acquired.credentials_handle))
    }

    fn spnego(identity: AuthIdentity) -> Result<Self, sspi::Error> {
        let inside = Box::new(NtlmConfig::default());
        let mut negotiate =
            Negotiate::new_client(NegotiateConfig::new(inside, Some(PACKAGES.to_owned()), String::new()))?;
        let credentials = Credentials::AuthIdentity(identity);
        let acquired = negotiate
            .acquire_credentials_handle()
            .with_credential_use(CredentialUse::Outbound)
            .with_auth_data(&credentials)
            .execute(&mut negotiate)?;
        Ok(Self::Spnego(Box::new(negotiate), acquired.credentials_handle))
    }
}

/// `SEC_CHANNEL_BINDINGS` with application data alone: eight 32-bit words, then the data.
fn channel_bindings(data: &[u8]) -> Vec<u8> {
    const HEAD: u32 = 32;
    let length = u32::try_from(data.len()).expect("a channel binding is some dozens of bytes");
    let words = [0, 0, 0, 0, 0, 0, length, HEAD];
    words.iter().flat_map(|word: &u32| word.to_le_bytes()).chain(data.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(dress: Dress) -> Vec<u8> {
        Handshake::new(dress, "CONTOSO\\alice", &"secret".into(), "web.contoso.example").unwrap().begin().unwrap()
    }

    #[test]
    fn spnego_offers_ntlm_alone_with_its_first_message_inside() {
        let token = begin(Dress::Spnego);
        let has = |bytes: &[u8]| token.windows(bytes.len()).any(|window| window == bytes);
        let spnego = [0x06, 0x06, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];
        let ntlmssp = [0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x0a];
        assert_eq!((token[0], &token[2..10]), (0x60, spnego.as_slice()), "a GSS-API token of SPNEGO");
        // NegTokenInit, mechTypes: one OID.
        assert!(has(&[&[0xa0, 0x0e, 0x30, 0x0c], ntlmssp.as_slice()].concat()));
        assert!(has(b"NTLMSSP\0\x01\0\0\0"));
        let kerberos = [0x2a, 0x86, 0x48];
        assert!(!has(&kerberos));
    }

    #[test]
    fn bare_messages_are_ntlm_by_either_name() {
        for dress in [Dress::Ntlm, Dress::BareNegotiate] {
            assert!(begin(dress).starts_with(b"NTLMSSP\0\x01\0\0\0"));
        }
    }

    #[test]
    fn a_login_that_is_no_account_is_refused_before_anything_is_made() {
        for login in ["", "a\nb"] {
            assert!(Handshake::new(Dress::Spnego, login, &"secret".into(), "web").is_err(), "{login}");
        }
    }

    #[test]
    fn a_channel_binding_is_laid_out_as_windows_reads_it() {
        let bytes = channel_bindings(b"tls-server-end-point:x");
        assert_eq!(
            (bytes.len(), &bytes[24..32], &bytes[32..35]),
            (54, [22, 0, 0, 0, 32, 0, 0, 0].as_slice(), b"tls".as_slice())
        );
    }
}
