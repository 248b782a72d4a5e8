//! `create`: makes a ring.

use ringduct::{HugePages, Options};

use crate::failure::Failure;
use crate::place::{self, Place};
use crate::{memory, size, talk};

/// Makes a ring.
#[derive(clap::Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Args {
    /// Where to make it
    #[arg(value_name = "LOC", value_parser = place::parser())]
    place: Place,
    /// Room for messages; the next power of two is taken
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = size::bytes)]
    capacity: u64,
    /// Who may open it, as octal permission bits
    #[arg(long, value_name = "BITS", default_value = "600", value_parser = octal)]
    mode: u32,
    /// Make it outlive power cuts, as far as its checkpoints reach (a file on ext4, xfs, btrfs, f2fs)
    #[arg(long)]
    durable: bool,
    /// Give every message a checksum
    #[arg(long)]
    checksum: bool,
    /// Map every page now, so that both the room and the mapping are known to be there
    #[arg(long)]
    prefault: bool,
    /// Use huge pages
    #[arg(long)]
    huge: bool,
}

/// Makes the ring.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut options = Options::new()
        .capacity_at_least_bytes(args.capacity)
        .mode(args.mode)
        .durable(args.durable)
        .checksum(args.checksum)
        .prefault(args.prefault);
    if args.huge {
        options = options.huge_pages(HugePages::Always);
    }
    memory::check(&args.place, args.capacity)?;
    let ring = args.place.create(&options)?;
    if args.prefault {
        drop(ring.observer()?); // maps every page, and writes nothing
    }
    let capacity = size::show_bytes(ring.capacity_bytes());
    talk::say(format_args!("{}: made a ring of {capacity}", args.place));
    Ok(())
}

/// Permission bits as `chmod` writes them.
fn octal(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    u32::from_str_radix(digits, 8)
        .map_err(|_| format!("{text:?} is not an octal number such as 600 or 660"))
}
