//! Windows authentication by sspi's server side: NTLM as it is, or inside SPNEGO.

use super::PASSWORD;
use sspi::ntlm::NtlmConfig;
use sspi::{
    AuthIdentity, AuthIdentityBuffers, BufferType, CredentialUse, Credentials, CredentialsBuffers, DataRepresentation,
    Negotiate, NegotiateConfig, Ntlm, SecurityBuffer, SecurityStatus, ServerRequestFlags, Sspi, SspiImpl, Username,
};

/// A handshake's state belongs to the connection.
#[derive(Default)]
pub(super) struct Connection {
    pub(super) handshake: Option<Handshake>,
    pub(super) signed_in: bool,
}

pub(super) enum Handshake {
    Ntlm(Box<Ntlm>, Option<AuthIdentityBuffers>),
    Spnego(Box<Negotiate>, Option<CredentialsBuffers>),
}

/// What follows a token.
pub(super) enum Step {
    Challenge(Vec<u8>),
    /// Signed in, with the last token of SPNEGO.
    Done(Vec<u8>),
}

fn alice() -> AuthIdentity {
    let username = Username::parse("CONTOSO\\alice").unwrap();
    AuthIdentity { username, password: PASSWORD.to_owned().into() }
}

impl Handshake {
    fn new(token: &[u8]) -> Self {
        if token.starts_with(b"NTLMSSP\0") {
            let mut ntlm = Ntlm::new();
            let acquired = ntlm
                .acquire_credentials_handle()
                .with_credential_use(CredentialUse::Inbound)
                .with_auth_data(&alice())
                .execute(&mut ntlm)
                .unwrap();
            return Self::Ntlm(Box::new(ntlm), acquired.credentials_handle);
        }
        let config = NegotiateConfig::new(Box::new(NtlmConfig::default()), Some("ntlm".to_owned()), "FE01".to_owned());
        let mut negotiate = Negotiate::new_server(config, vec![alice()]).unwrap();
        let credentials = Credentials::AuthIdentity(alice());
        let acquired = negotiate
            .acquire_credentials_handle()
            .with_credential_use(CredentialUse::Inbound)
            .with_auth_data(&credentials)
            .execute(&mut negotiate)
            .unwrap();
        Self::Spnego(Box::new(negotiate), acquired.credentials_handle)
    }
}

impl Connection {
    /// Takes a token; `Err` is a refusal.
    pub(super) fn accept(&mut self, token: &[u8]) -> Result<Step, ()> {
        let handshake = self.handshake.get_or_insert_with(|| Handshake::new(token));
        let mut input = vec![SecurityBuffer::new(token.to_vec(), BufferType::Token)];
        let mut output = vec![SecurityBuffer::new(Vec::new(), BufferType::Token)];
        let status = match handshake {
            Handshake::Ntlm(ntlm, credential) => {
                let builder = ntlm
                    .accept_security_context()
                    .with_credentials_handle(credential)
                    .with_context_requirements(ServerRequestFlags::ALLOCATE_MEMORY)
                    .with_target_data_representation(DataRepresentation::Native)
                    .with_input(&mut input)
                    .with_output(&mut output);
                let result =
                    ntlm.accept_security_context_impl(builder).map_err(drop)?.resolve_to_result().map_err(drop)?;
                if result.status != SecurityStatus::ContinueNeeded {
                    ntlm.complete_auth_token(&mut output).map_err(drop)?;
                }
                result.status
            }
            Handshake::Spnego(negotiate, credential) => {
                let builder = negotiate
                    .accept_security_context()
                    .with_credentials_handle(credential)
                    .with_context_requirements(ServerRequestFlags::ALLOCATE_MEMORY)
                    .with_target_data_representation(DataRepresentation::Native)
                    .with_input(&mut input)
                    .with_output(&mut output);
                let accepting = negotiate.accept_security_context_impl(builder);
                accepting.map_err(drop)?.resolve_to_result().map_err(drop)?.status
            }
        };
        let token = output.remove(0).buffer;
        if status == SecurityStatus::ContinueNeeded {
            return Ok(Step::Challenge(token));
        }
        self.signed_in = true;
        Ok(Step::Done(if matches!(handshake, Handshake::Spnego(..)) { token } else { Vec::new() }))
    }
}

/// A client's first message.
pub(super) fn ntlm_negotiate() -> Vec<u8> {
    const FLAGS: u32 = 0xe208_8297;
    [b"NTLMSSP\0".as_slice(), &1u32.to_le_bytes(), &FLAGS.to_le_bytes(), &[0; 16], &[10, 0, 0x61, 0x4a, 0, 0, 0, 15]]
        .concat()
}
