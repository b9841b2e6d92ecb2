//! What a phone is.

pub mod tether;
