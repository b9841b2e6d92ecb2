//! The program itself, as it is called.

use super::findings::encoded;
use super::wire::{DHCP, Wire};
use serde_json::Value;
use std::process::{Command, Stdio};

struct Ran {
    lines: Vec<Value>,
    code: Option<i32>,
}

/// Runs a command without a person, in a clean environment.
fn run(program: &mut Command) -> Ran {
    let output = program.env_clear().env("HOME", "/nonexistent").stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Ran { lines, code: output.status.code() }
}

fn arguments(wire: &Wire) -> Vec<String> {
    let words = ["discovery", "--json", "--no-connect", "--user", "alice@contoso.example", "--interface"];
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    words.extend([wire.interface.clone(), "--dns-server".to_owned(), wire.server.to_string()]);
    words
}

#[test]
fn the_command_finds_the_pool_and_says_so_to_scripts() {
    let lines = encoded("pool.contoso.example", "web.contoso.example");
    let wire = Wire::to(&format!("{DHCP}{lines}dhcp-option=vendor:CPE-OCPHONE,10,00:64\n"));
    let ran = run(Command::new(env!("CARGO_BIN_EXE_tethercert")).args(arguments(&wire)));
    let last = ran.lines.last().unwrap();
    assert_eq!(last["type"], "discovered");
    assert_eq!(last["web_services"], "https://web.contoso.example:443/CertProv/CertProvisioningService.svc");
    assert_eq!(last["registrar"], "pool.contoso.example:5061");
    assert_eq!(last["outside_domain"], serde_json::json!([]));
    assert_eq!(ran.code, Some(0));
}

#[test]
fn without_the_right_to_port_68_nothing_is_claimed_and_the_command_that_gives_it_is_named() {
    let wire = Wire::to(&format!("{DHCP}{}", encoded("pool.contoso.example", "web.contoso.example")));
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", env!("CARGO_BIN_EXE_tethercert")]).args(arguments(&wire));
    let ran = run(&mut command);
    let finding = ran.lines.iter().find(|line| line["check"] == "dhcp").unwrap();
    assert_eq!(finding["says"], "this user may not use port 68, where DHCP servers answer");
    assert_eq!(finding["verdict"], "unknown");
    let next = finding["next_step"].as_str().unwrap();
    assert!(next.contains("sudo setcap cap_net_bind_service,cap_net_raw=ep /"), "{next}");
    assert!(ran.lines.iter().all(|line| line["says"] != "no DHCP server answered"));
}
