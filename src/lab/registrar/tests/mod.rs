//! The registrar over its real wire.

mod client;
mod era;
mod faults;
mod ntlm;
mod refusals;
mod sign_in;

use client::{ALICE, Client};
use sign_in::{alice, signed_in};
