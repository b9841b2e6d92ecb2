//! What a phone is.

pub mod definition;
