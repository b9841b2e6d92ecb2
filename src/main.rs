//! tethercert

fn main() {}
