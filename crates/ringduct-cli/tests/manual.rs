//! `ringduct completions` and `ringduct man`, by the built program: shells and roff take them.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests fail by panicking"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn tool(args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_ringduct"))
        .args(args)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The commands, as the help lists them.
fn commands() -> Vec<String> {
    let help = String::from_utf8(tool(&["--help"]).stdout).unwrap();
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = lines.take_while(|line| !line.is_empty());
    let names = names.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

/// Whether a program is there. Under `CI` those that every machine has must be.
fn has(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        eprintln!("SKIPPED: there is no {program}");
    }
    found
}

/// Goal: each script names every command, and its shell can read it. Method: `-n` of the shells
/// that are here; bash is.
#[test]
fn shells_read_the_completions() {
    let commands = commands();
    assert!(commands.len() >= 6, "{commands:?}");
    let dir = tempfile::tempdir().unwrap();
    let mut read = 0;
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = tool(&["completions", shell]).stdout;
        let text = String::from_utf8(script).unwrap();
        for command in &commands {
            assert!(
                text.contains(command.as_str()),
                "{command} is not in that of {shell}"
            );
        }
        if !["bash", "zsh", "fish"].contains(&shell) || !has(shell) {
            continue;
        }
        let path = dir.path().join(shell);
        fs::write(&path, text).unwrap();
        let status = Command::new(shell).arg("-n").arg(&path).status().unwrap();
        assert!(status.success(), "{shell} can not read its script");
        read += 1;
    }
    assert!(read >= 1, "bash is everywhere");
    let completed = complete_in_bash(&dir.path().join("bash"));
    assert_eq!(completed, ["serve"], "ringduct ser<TAB>");
}

/// What bash offers for `ringduct ser`.
fn complete_in_bash(script: &Path) -> Vec<String> {
    let line = "source \"$1\"; COMP_WORDS=(ringduct ser); COMP_CWORD=1; \
                _ringduct ringduct ser ringduct; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["-c", line, "bash"])
        .arg(script)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Goal: there is a page for the tool and for each command, with every section, and roff renders
/// them without a warning. Method: groff if it is here.
#[test]
fn roff_renders_every_page() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("man1");
    tool(&["man", folder.to_str().unwrap()]);
    let mut pages: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    pages.sort();
    let names: Vec<_> = pages
        .iter()
        .map(|page| page.file_name().unwrap().to_str().unwrap())
        .collect();
    let mut expected: Vec<_> = commands()
        .iter()
        .map(|name| format!("ringduct-{name}.1"))
        .collect();
    expected.push("ringduct.1".to_owned());
    expected.sort();
    assert_eq!(names, expected);
    let with_roff = has("groff");
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for part in [
            "TH",
            "SH NAME",
            "SH SYNOPSIS",
            "SH DESCRIPTION",
            "SH OPTIONS",
            "SH FILES",
        ] {
            assert!(
                text.contains(&format!("\n.{part}")),
                "{part} is not in {}",
                page.display()
            );
        }
        for part in [
            "\"EXIT STATUS\"",
            "the role is taken",
            "/dev/shm/NAME",
            "shm:NAME",
        ] {
            assert!(text.contains(part), "{part} is not in {}", page.display());
        }
        if with_roff {
            render(page);
        }
    }
    let first = tool(&["man"]).stdout;
    assert_eq!(first, fs::read(folder.join("ringduct.1")).unwrap());
}

fn render(page: &Path) {
    let output = Command::new("groff")
        .args(["-man", "-ww", "-Tutf8"])
        .arg(page)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{}: {said}",
        page.display()
    );
    assert!(output.stdout.len() > 1000, "{}", page.display());
}
