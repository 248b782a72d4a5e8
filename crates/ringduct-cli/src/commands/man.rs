//! `man`: the manual, one page for each command.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli;
use crate::failure::Failure;
use crate::output::Output;
use crate::talk;

/// Writes the manual: the page of `ringduct` to standard output, or all pages into a folder
///
/// `ringduct man | man -l -` shows the first page; `ringduct man ~/.local/share/man/man1` puts
/// all of them where `man ringduct` and `man ringduct-recv` find them.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The folder for the pages `ringduct.1`, `ringduct-COMMAND.1`; it is made if there is none
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// What the exit codes follow, in the text that every help ends with.
const CODES: &str = "Exit codes:";

/// What a page is called in its head and foot.
const MANUAL: &str = "ringduct manual";

/// What each page says of files, besides its own options.
const FILES: [(&str, &str); 5] = [
    ("/dev/shm/NAME", "the ring at shm:NAME"),
    (
        "/dev/shm/ringduct-sysv-ID",
        "the companion of a System V ring, which holds the locks of its roles",
    ),
    (
        "SOCK",
        "the socket of `ringduct serve -u SOCK`: made with mode 0600, or 0666 when other users are \
         admitted, and removed when the server ends",
    ),
    (
        "/proc/self/fd, /proc/thread-self/fd",
        "needed to open a ring anew for each role",
    ),
    (
        "/sys/fs",
        "where the kernel tells mounts apart, needed for durable rings",
    ),
];

/// Writes the pages.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut tool = cli::command().disable_help_subcommand(true);
    tool.build();
    let Some(folder) = &args.folder else {
        return Output::stdout()?.write_all(&page(&tool)?);
    };
    let shown = folder.display();
    fs::create_dir_all(folder)
        .map_err(|error| Failure::io(&format!("make the folder {shown}"), &error))?;
    let pages = write(&tool, folder)?;
    talk::say(format_args!("{shown}: wrote {pages} pages"));
    Ok(())
}

/// Writes the page of a command and those of its subcommands, and returns how many.
fn write(command: &Command, folder: &Path) -> Result<u32, Failure> {
    let path = folder.join(format!("{}.1", name(command)));
    fs::write(&path, page(command)?)
        .map_err(|error| Failure::io(&format!("write {}", path.display()), &error))?;
    let mut pages = 1_u32;
    for inner in visible(command) {
        pages = pages.saturating_add(write(inner, folder)?);
    }
    Ok(pages)
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    let shown = |command: &&Command| !command.is_hide_set();
    command.get_subcommands().filter(shown)
}

/// `ringduct`, `ringduct-send`.
fn name(command: &Command) -> &str {
    let shown = command.get_display_name();
    shown.unwrap_or_else(|| command.get_name())
}

/// One page.
fn page(command: &Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    let man = Man::new(command.clone())
        .title(name(command).to_uppercase())
        .manual(MANUAL)
        .source(format!("ringduct {}", env!("CARGO_PKG_VERSION")));
    let rendered = man
        .render_title(&mut page)
        .and_then(|()| man.render_name_section(&mut page))
        .and_then(|()| man.render_synopsis_section(&mut page))
        .and_then(|()| man.render_description_section(&mut page))
        .and_then(|()| man.render_options_section(&mut page))
        .and_then(|()| {
            if command.has_subcommands() {
                man.render_subcommands_section(&mut page)?;
            }
            Ok(())
        })
        .and_then(|()| tail(command).to_writer(&mut page));
    match rendered {
        Ok(()) => Ok(page),
        Err(error) => Err(Failure::io("make a manual page", &error)),
    }
}

/// A section whose lines stay as they are.
fn as_written(roff: &mut Roff, title: &str, text: &str) {
    roff.control("SH", [title]);
    roff.control("nf", []);
    for line in text.trim().lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

/// What every page ends with.
fn tail(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let (places, codes) = cli::AFTER.split_once(CODES).unwrap_or((cli::AFTER, ""));
    as_written(&mut roff, "LOCATIONS AND SIZES", places);
    as_written(&mut roff, "EXIT STATUS", codes);
    roff.control("SH", ["FILES"]);
    for (path, what) in FILES {
        roff.control("TP", []);
        roff.text([bold(path)]);
        roff.text([roman(what)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    let mut others: Vec<_> = visible(command)
        .map(|inner| format!("{}(1)", name(inner)))
        .collect();
    if others.is_empty() {
        others.push("ringduct(1)".to_owned());
    }
    roff.text([roman(others.join(", "))]);
    roff
}
