//! The program as a script calls it, in a clean environment. Other test binaries use this file too.

use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tethercert::device::keys::KNOWN_KEYS;

/// The program with a home of its own.
pub struct Tool {
    pub home: TempDir,
    pub environment: Vec<(&'static str, String)>,
}

/// What a run said, and its exit code.
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

impl Tool {
    pub fn new() -> Self {
        Self { home: TempDir::new().unwrap(), environment: Vec::new() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tethercert"));
        // No test asks the network for a pool that was not told to.
        command.env_clear().env("TETHERCERT_DISCOVERY", "off");
        command.env("HOME", self.home.path()).args(arguments).stdin(Stdio::null());
        // Where making keys takes seconds, they are made beforehand.
        command.envs(std::env::var_os(KNOWN_KEYS).map(|folder| (KNOWN_KEYS, folder)));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        Ran {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code().unwrap(),
        }
    }
}

impl Ran {
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")));
        lines.collect()
    }

    pub fn last(&self) -> Value {
        self.lines().pop().expect("a line of JSON")
    }

    pub fn whole(&self) -> String {
        let stderr = if self.stderr.is_empty() { String::new() } else { format!("--- stderr\n{}", self.stderr) };
        format!("{}{stderr}--- exit code {}", self.stdout, self.code)
    }
}
