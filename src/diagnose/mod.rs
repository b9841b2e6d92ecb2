//! What checks find. A check looks and never changes anything; it says *good*, *bad* or *unknown*, with what it looked at and
//! the next step. *Unknown* is an honest answer.

mod finding;
#[cfg(test)]
mod troubleshooting;

pub use finding::{Finding, Verdict};
