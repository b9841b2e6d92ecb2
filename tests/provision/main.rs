//! What provisioning promises, on a lab: real USB transfers, real HTTPS and SOAP, a real database.

mod answers;
mod bench;
mod cuts;
mod promises;
mod resuming;
mod trust;
