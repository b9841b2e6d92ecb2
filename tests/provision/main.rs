//! What provisioning promises, on a lab: real USB transfers, real HTTPS and SOAP, a real database.

mod answers;
mod bench;
mod cuts;
mod http_cuts;
mod identity;
mod promises;
mod rehearsing;
mod renewing;
mod replaying;
mod resuming;
mod store;
mod trust;
mod unfinished;
