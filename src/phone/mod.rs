//! What a phone is.
