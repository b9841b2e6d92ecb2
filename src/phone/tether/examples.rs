//! The worked examples of the page, recomputed.
