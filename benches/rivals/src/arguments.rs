//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::placement::Wanted;

/// Measures ringduct beside its rivals and beside the floor of the machine, between two processes
/// on two cores.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Arguments {
    /// Round trips, streaming and the ratios in under three minutes; the default.
    #[arg(long)]
    pub(crate) quick: bool,
    /// More rounds, and everything else besides: see the README.
    #[arg(long, conflicts_with = "quick")]
    pub(crate) full: bool,
    /// Writes every figure to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Writes the tables in Markdown to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Draws curves of latency and bars of throughput into this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) svg: Option<PathBuf>,
    /// Measures only these transports, by name.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Goes through all transports so many times; the medians are reported.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: Option<u32>,
    /// How long the timed part of each measurement lasts.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cell_ms: Option<u32>,
    /// Where the two ends run; two different physical cores by default.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) cores: Option<Vec<usize>>,
    /// The placement to wait for, for a while, and to report. A virtual machine can move the two
    /// cores onto two hyper-threads of one and back at any time.
    #[arg(long, value_enum, default_value = "any", value_name = "PLACEMENT")]
    pub(crate) placement: Wanted,
    /// A floor of so many nanoseconds or more means two cores without a common cache; 200 by
    /// default on a virtual machine, elsewhere the kernel is believed.
    #[arg(long, value_name = "NS")]
    pub(crate) far_ns: Option<f64>,
    /// Measures nothing, but checks that a file written by `--json` has everything.
    #[arg(long, value_name = "FILE", exclusive = true)]
    pub(crate) check: Option<PathBuf>,
    /// A directory on a disk, for rings in files; that of this program by default.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
