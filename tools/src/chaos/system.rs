//! The programs of the system that the lab is made with.

use crate::failure::Failure;
use std::io::{self, ErrorKind, Write};
use std::process::{Command, Output, Stdio};

/// Where `ip netns` keeps the namespaces that have names.
pub(crate) const NETNS_DIR: &str = "/var/run/netns";

/// Runs a program to its end; what it wrote on standard output.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    feed(program, arguments, "")
}

/// The same, with something to read on standard input.
pub(crate) fn feed(program: &str, arguments: &[&str], input: &str) -> Result<String, Failure> {
    let command = || format!("{program} {}", arguments.join(" "));
    let refused = |error: io::Error| Failure::other(format!("cannot run `{}`: {error}", command()));
    let output = pipe(program, arguments, input).map_err(refused)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::other(format!("`{}` failed ({}): {}", command(), output.status, said.trim())))
}

fn pipe(program: &str, arguments: &[&str], input: &str) -> io::Result<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why on standard error.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

/// What stands in the way of a lab on this machine, and how to get it out of the way.
pub(crate) fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root: run it with sudo, or as root in a container".into());
    }
    for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        let missing = matches!(pipe(program, &["-V"], ""), Err(error) if error.kind() == ErrorKind::NotFound);
        if missing {
            return Some(format!("`{program}` is missing: apt-get install {package} (Debian and Ubuntu)"));
        }
    }
    None
}

/// Whether a network namespace can be made here, by making one; the reason if not.
pub(crate) fn trial(name: &str) -> Result<(), Failure> {
    run("ip", &["netns", "add", name])?;
    let outcome = run("ip", &["netns", "exec", name, "nft", "add", "table", "inet", "chaos"]);
    run("ip", &["netns", "del", name])?;
    outcome.map(drop)
}
