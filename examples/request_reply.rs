//! Calls from one process to another: two rings, one for requests and one for replies.
//!
//! ```sh
//! cargo run --release --example request_reply
//! ```
//!
//! Expect twenty thousand calls, each answered with its request in upper case, and the mean time
//! of a call. The program starts itself a second time as the server.

#[path = "common/args.rs"]
mod args;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use ringduct::{Channel, Location, Options};

const HELP: &str = "usage: request_reply";
const CALLS: u32 = 20_000;

fn main() -> ExitCode {
    let arguments = args::arguments(HELP);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    args::finish(match arguments.as_slice() {
        [] => call(),
        ["--server", path] => serve(path),
        _ => Err(HELP.into()),
    })
}

fn serve(path: &str) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut server = Channel::serve(&Location::from(Path::new(path)), &Options::new())?;
    server.serve(|request, reply| reply.extend(request.iter().map(u8::to_ascii_uppercase)))?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "says what it did")]
fn call() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?; // removed at the end, with both rings in it
    let path = folder.path().join("shout");
    let mut server = Command::new(std::env::current_exe()?)
        .arg("--server")
        .arg(&path)
        .spawn()?;
    let mut client = Channel::connect(&Location::from(path), &Options::new())?;
    let mut reply = Vec::new();
    let started = Instant::now();
    for number in 0..CALLS {
        let request = format!("call {number}");
        let deadline = Instant::now().checked_add(Duration::from_secs(10));
        client.call(request.as_bytes(), &mut reply, deadline)?;
        if reply != request.to_ascii_uppercase().as_bytes() {
            return Err(format!("{request} was answered with {}", reply.escape_ascii()).into());
        }
    }
    let mean_us = started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS);
    drop(client); // closes, which ends the server
    let status = server.wait()?;
    println!(
        "{CALLS} calls, {mean_us:.2} microseconds each; the last reply was {}",
        reply.escape_ascii()
    );
    println!("the server ended with {status}");
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
