//! The Web Services of Lync and Skype for Business: discovery by metadata, web ticket, get-and-publish.

/// A SAML assertion with its proof key.
pub struct WebTicket {}

/// Why the service did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {}
