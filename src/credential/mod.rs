//! Keys, signing requests, certificates and the two judgements on them, kept apart: the *user's certificate* is judged
//! by key, user, dates and purpose, and its issuer need not be known; the *server chain* is judged for a phone's view.
//!
//! Nothing here talks to a phone or to a service.

mod fingerprint;
mod key_kind;
mod sip_address;

pub use fingerprint::{Fingerprint, ParseFingerprintError};
pub use key_kind::KeyKind;
pub use sip_address::{ParseSipAddressError, SipAddress};
