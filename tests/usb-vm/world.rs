//! A lab in this process, and the command lines that lead to its Web Services.

use super::tool::{Ran, Tool};
use std::path::Path;
use tethercert::lab::{Lab, LabOptions, Ports, Ready};
use tokio::runtime::Runtime;

/// Web Services, and the phones that were asked for.
pub struct World {
    /// Its addresses and users.
    pub ready: Ready,
    /// What is behind them.
    pub lab: Lab,
    /// What it runs on.
    pub runtime: Runtime,
}

impl World {
    /// Without phones.
    pub fn start() -> Self {
        Self::with_phones(0)
    }

    /// With so many virtual phones, at its USB/IP server.
    pub fn with_phones(phones: u8) -> Self {
        Self::with(&LabOptions { phones, ..LabOptions::default() })
    }

    /// Without phones, with its Web Services on this port.
    pub fn at(https: u16) -> Self {
        let ports = Ports { https, ..Ports::default() };
        Self::with(&LabOptions { phones: 0, ports, ..LabOptions::default() })
    }

    fn with(options: &LabOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let lab = runtime.block_on(Lab::start(options)).unwrap();
        Self { ready: lab.ready(), lab, runtime }
    }

    /// `provision` for alice.
    pub fn provision<'a>(&'a self, drivers: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let alice = &self.ready.users[0];
        let mut arguments =
            vec!["provision", "--user", alice.user.as_str(), "--login", &alice.login, "--yes", "--json"];
        arguments.extend(self.wires(drivers));
        arguments.extend(more);
        arguments
    }

    /// Where the pool is and which phones are known.
    pub fn wires<'a>(&'a self, drivers: &'a str) -> [&'a str; 6] {
        let anchor = text(&self.ready.trust_anchor);
        ["--certprov-url", &self.ready.certprov_url, "--trust-anchor", anchor, "--drivers", drivers]
    }

    /// Alice's password.
    pub fn password(&self) -> [&str; 2] {
        ["--password-file", text(&self.ready.users[0].password_file)]
    }
}

/// Runs it and expects this outcome.
pub fn expect(tool: &Tool, arguments: &[&str], outcome: &str) -> Ran {
    let ran = tool.run(arguments);
    assert_eq!(ran.last()["outcome"], outcome, "{}", ran.whole());
    ran
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
