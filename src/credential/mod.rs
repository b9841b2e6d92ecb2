//! Keys, signing requests, certificates and the two judgements on them, kept apart: the *user's certificate* is judged
//! by key, user, dates and purpose, and its issuer need not be known; the *server chain* is judged for a phone's view.
//!
//! Nothing here talks to a phone or to a service.

mod certificate;
mod extensions;
mod fingerprint;
mod key_kind;
mod pem;
mod public_key;
mod request;
mod server_chain;
mod sip_address;
#[cfg(test)]
mod test_ca;
mod text;
mod thumbprint;
mod user_certificate;

pub use certificate::{Certificate, ReadError};
pub use extensions::{AlternativeNames, BasicConstraints, KeyUsage, Purposes};
pub use fingerprint::{Fingerprint, ParseFingerprintError};
pub use key_kind::KeyKind;
pub use pem::pem;
pub use public_key::{PublicKeyKind, SignatureAlgorithm, SignatureCheck};
pub use request::{Expected, RequestError, SigningRequest, Unexpected, WriteRequestError, signing_request};
pub use server_chain::{Culprit, Flaw, PhoneView, Place, Remedy, ServerChain, Unremedied, Verdict};
pub use sip_address::{ParseSipAddressError, SipAddress, is_in_domain};
pub use thumbprint::{ParseThumbprintError, Thumbprint};
pub use user_certificate::{Finding, Refusal, UserVerdict, UserView, judge_user_certificate};
