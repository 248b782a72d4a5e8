//! Builds the rivals that need more than a stable compiler, each as a program of its own. One that
//! does not build is not an error: the program says which and why.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// A rival in `extra/`.
struct Extra {
    /// Its directory.
    name: &'static str,
    /// The package of the rival itself.
    package: &'static str,
    /// What its build needs in the environment.
    environment: &'static [(&'static str, &'static str)],
}

const EXTRAS: [Extra; 3] = [
    Extra {
        name: "shaq",
        package: "shaq",
        environment: &[
            ("RUSTC_BOOTSTRAP", "1"),
            (
                "RUSTFLAGS",
                "-Zcrate-attr=feature(isolate_most_least_significant_one)",
            ),
        ],
    },
    Extra {
        name: "tachyon",
        package: "tachyon-ipc",
        environment: &[("CC", "clang-19"), ("CXX", "clang++-19")],
    },
    Extra {
        name: "iceoryx2",
        package: "iceoryx2",
        environment: &[],
    },
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=harness");
    println!("cargo:rerun-if-env-changed=RIVALS_NO_EXTRA");
    for extra in EXTRAS {
        let directory = Path::new("extra").join(extra.name);
        println!("cargo:rerun-if-changed={}", directory.display());
        let name = extra.name.to_uppercase();
        match build(&extra, &directory) {
            Ok(program) => println!("cargo:rustc-env=RIVALS_{name}={}", program.display()),
            Err(why) => {
                let version = version(&directory, extra.package).unwrap_or_default();
                let why = why.replace('\n', " ");
                println!(
                    "cargo:rustc-env=RIVALS_{name}_WHY={} {version}: {why}",
                    extra.package
                );
            }
        }
    }
}

/// Builds one rival and returns its program.
fn build(extra: &Extra, directory: &Path) -> Result<PathBuf, String> {
    if env::var_os("RIVALS_NO_EXTRA").is_some() {
        return Err("left out by RIVALS_NO_EXTRA".to_owned());
    }
    let target = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?).join(extra.name);
    let cargo = env::var_os("CARGO").ok_or("no CARGO")?;
    let mut command = Command::new(cargo);
    // What this build was told is not meant for that one.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let ours = text.starts_with("CARGO_") && text != "CARGO_HOME";
        if ours || text.starts_with("RUSTC_") || text == "RUSTFLAGS" || text == "MAKEFLAGS" {
            command.env_remove(&name);
        }
    }
    let output = command
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--manifest-path",
        ])
        .arg(directory.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .envs(extra.environment.iter().copied())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let lines = complaint.lines().map(str::trim);
        let mut told = lines
            .filter(|line| line.contains("error"))
            .take(2)
            .collect::<Vec<_>>();
        if told.is_empty() {
            told = complaint.lines().take(2).collect();
        }
        return Err(format!("does not build: {}", told.join(" / ")));
    }
    Ok(target.join("release").join(format!("rival-{}", extra.name)))
}

/// The version in the lock file.
fn version(directory: &Path, package: &str) -> Option<String> {
    let lock = fs::read_to_string(directory.join("Cargo.lock")).ok()?;
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    Some(rest.split('"').next()?.to_owned())
}
