//! `completions`: what a shell needs to complete the command line.

use clap_complete::Shell;

use crate::cli;
use crate::failure::Failure;
use crate::output::Output;

/// Writes a completion script for a shell to standard output
///
/// bash: `ringduct completions bash > ~/.local/share/bash-completion/completions/ringduct`.
/// zsh: into a file `_ringduct` in a folder of `$fpath`.
/// fish: `ringduct completions fish > ~/.config/fish/completions/ringduct.fish`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Writes the script.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(), "ringduct", &mut script);
    Output::stdout()?.write_all(&script)
}
