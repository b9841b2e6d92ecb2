//! The client's side of an NTLM handshake in HTTP ([MS-NTHT]): three messages, two of them ours.
//!
//! Where a server offers only `Negotiate`, the same NTLM messages go under that name without SPNEGO around them, which
//! Windows servers take. True Negotiate would look for Kerberos, which a laptop without domain join does not have.

use super::error::ServiceError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use sspi::{
    AuthIdentity, AuthIdentityBuffers, BufferType, ClientRequestFlags, CredentialUse, DataRepresentation, Ntlm,
    SecurityBuffer, Sspi, SspiImpl, Username,
};

/// One handshake on one connection.
pub(super) struct Handshake {
    ntlm: Ntlm,
    credential: Option<AuthIdentityBuffers>,
    target: String,
}

impl Handshake {
    /// For `login` (`CONTOSO\alice` or `alice@contoso.example`) at `host`.
    pub(super) fn new(login: &str, password: &SecretString, host: &str) -> Result<Self, ServiceError> {
        let bad = || ServiceError::BadLogin { login: login.escape_default().to_string() };
        if login.is_empty() || login.chars().any(char::is_control) {
            return Err(bad());
        }
        let username = Username::parse(login).map_err(|_| bad())?;
        let identity = AuthIdentity { username, password: password.expose_secret().to_owned().into() };
        let mut ntlm = Ntlm::new();
        let acquired = ntlm
            .acquire_credentials_handle()
            .with_credential_use(CredentialUse::Outbound)
            .with_auth_data(&identity)
            .execute(&mut ntlm)
            .map_err(|_| bad())?;
        Ok(Self { ntlm, credential: acquired.credentials_handle, target: format!("HTTP/{host}") })
    }

    /// The next message, base64, after `challenge` (none for the first).
    pub(super) fn next(&mut self, challenge: Option<Vec<u8>>) -> Result<String, sspi::Error> {
        let mut input = vec![SecurityBuffer::new(challenge.unwrap_or_default(), BufferType::Token)];
        let mut output = vec![SecurityBuffer::new(Vec::new(), BufferType::Token)];
        let mut builder = self
            .ntlm
            .initialize_security_context()
            .with_credentials_handle(&mut self.credential)
            .with_context_requirements(ClientRequestFlags::ALLOCATE_MEMORY)
            .with_target_data_representation(DataRepresentation::Native)
            .with_target_name(&self.target)
            .with_input(&mut input)
            .with_output(&mut output);
        self.ntlm.initialize_security_context_impl(&mut builder)?.resolve_to_result()?;
        Ok(STANDARD.encode(output.first().map(|b| b.buffer.as_slice()).unwrap_or_default()))
    }
}

/// Which name NTLM goes under at this server.
pub(super) fn scheme(offered: &[String]) -> Option<&'static str> {
    let offers = |name: &str| {
        offered.iter().any(|o| o.split([' ', ',']).next().is_some_and(|first| first.eq_ignore_ascii_case(name)))
    };
    ["NTLM", "Negotiate"].into_iter().find(|name| offers(name))
}

/// The server's message in `WWW-Authenticate: <scheme> <base64>`.
pub(super) fn challenge(scheme: &str, offered: &[String]) -> Option<Vec<u8>> {
    offered.iter().find_map(|value| {
        let (name, token) = value.trim().split_once(' ')?;
        if !name.eq_ignore_ascii_case(scheme) {
            return None;
        }
        let bytes = STANDARD.decode(token.trim()).ok()?;
        // A Negotiate answer in SPNEGO clothes is none that was asked for.
        bytes.starts_with(b"NTLMSSP\0").then_some(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntlm_is_preferred_and_negotiate_carries_it_where_it_stands_alone() {
        let offered = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        assert_eq!(scheme(&offered(&["Negotiate", "ntlm"])), Some("NTLM"));
        assert_eq!(scheme(&offered(&["Negotiate"])), Some("Negotiate"));
        assert_eq!(scheme(&offered(&["Basic realm=\"x\""])), None);
    }

    #[test]
    fn a_server_message_that_is_not_ntlm_is_no_challenge() {
        assert_eq!(challenge("NTLM", &["NTLM".to_owned(), "NTLM YWJj".to_owned()]), None);
        assert_eq!(challenge("NTLM", &["NTLM TlRMTVNTUAAC".to_owned()]).as_deref(), Some(b"NTLMSSP\0\x02".as_slice()));
    }
}
