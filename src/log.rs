//! `weir log`: looks into a data directory that no server has open.

use crate::cli::To;
use crate::clock::{self, Ask};
use crate::output::{Style, thousands};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_ingest::io::{Clock, Disk, RealClock, RealDisk};
use weir_ingest::log::{
    InternalLog, Log, LogConfig, Partition, PartitionState, RepairMode, Repaired, Unreadable,
    repair,
};
use weir_ingest::model::EventTime;

/// What `weir log` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Streams, partitions and segments, with their offsets and times, as the next start will find
    /// them; writes nothing
    Inspect {
        /// The data directory
        directory: PathBuf,
    },
    /// Says which rows of damaged partitions are lost; with --apply it writes gaps in their place, which
    /// readers see, and keeps the files as they were in the quarantine
    Repair {
        /// The data directory
        directory: PathBuf,
        /// Do it; without this nothing is written
        #[arg(long)]
        apply: bool,
    },
    /// Whether the wall clock agrees with the log. Where it does not, no time passes without readings and
    /// nothing is removed by age until it does, or until it is accepted
    Clock {
        /// A data directory that no server has open; without it a server is asked
        directory: Option<PathBuf>,
        /// The clock is right as it is
        #[arg(long)]
        accept: bool,
        #[command(flatten)]
        to: To,
    },
    /// Reads every frame of every segment and says which partitions are damaged and where; writes
    /// nothing
    Verify {
        /// The data directory
        directory: PathBuf,
    },
}

/// Prints what is there.
/// # Errors
/// The directory cannot be read, or a server has it open; what is verified is damaged.
pub async fn run(arguments: Arguments) -> Result<()> {
    match &arguments.action {
        Action::Clock { directory, accept, to } => {
            let ask = if *accept { Ask::Accept } else { Ask::Show };
            match directory {
                Some(directory) => clock::of_directory(directory, ask),
                None => clock::of_server(to, ask).await,
            }
        }
        Action::Inspect { directory } => {
            print_all(open(directory)?.as_ref());
            Ok(())
        }
        Action::Repair { directory, apply } => {
            let mode = if *apply { RepairMode::Apply } else { RepairMode::Plan };
            mend(directory, mode)
        }
        Action::Verify { directory } => verify(open(directory)?.as_ref()),
    }
}

/// Reads all of the log.
fn verify(log: &Log) -> Result<()> {
    // The segments being written were read when the log was opened; these are the others.
    log.step_scrub(u64::MAX);
    let streams = log.streams().all();
    let of_streams = streams.iter().flat_map(|stream| stream.partitions());
    let internal = InternalLog::ALL.map(|which| log.internal(which));
    let mut damaged = 0;
    for partition in of_streams.chain(internal) {
        let state = partition.state();
        if let PartitionState::Corrupt(why) | PartitionState::Failed(why) = state {
            damaged += 1;
            println!("{}: {why}", partition.name());
        }
    }
    let scrubbed = log.scrubbed();
    for Unreadable { partition, segment, detail } in &scrubbed.unreadable {
        println!("{partition}: the segment from row {segment} on cannot be read: {detail}");
    }
    if !scrubbed.unreadable.is_empty() {
        let segments = scrubbed.unreadable.len();
        bail!(
            "{segments} segments cannot be read and {damaged} partitions are damaged; look at the disk"
        );
    }
    if damaged > 0 {
        bail!("{damaged} partitions are damaged; what lies before the places named can be read");
    }
    println!("every frame is whole ({} bytes of closed segments)", scrubbed.bytes);
    Ok(())
}

/// Says what is lost, and repairs.
fn mend(directory: &Path, mode: RepairMode) -> Result<()> {
    check_directory(directory)?;
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(RealClock::new()));
    let Repaired { lost, damaged } = repair(
        &(disk as Arc<dyn Disk>),
        &(clock as Arc<dyn Clock>),
        &LogConfig::new(directory),
        mode,
    )
    .with_context(|| format!("{} cannot be repaired", directory.display()))?;
    for lost in &lost {
        println!(
            "{}: rows {} to {} are lost ({} bytes at {} of {})",
            lost.partition,
            lost.from.0,
            lost.to.0,
            lost.bytes,
            lost.at,
            lost.file.display()
        );
    }
    for (partition, why) in &damaged {
        println!("{partition} cannot be repaired and stays as it is: {why}");
    }
    match mode {
        RepairMode::Plan if lost.is_empty() && !damaged.is_empty() => {}
        RepairMode::Plan if lost.is_empty() => println!("no rows are lost"),
        RepairMode::Plan => println!("nothing was written; --apply writes gaps in their place"),
        RepairMode::Apply if lost.is_empty() && !damaged.is_empty() => {}
        RepairMode::Apply => println!(
            "repaired; rules whose inputs have gaps now may need REPLAY RULE or RESET RULE"
        ),
    }
    if !damaged.is_empty() {
        bail!(
            "{} partitions are damaged beyond a repair; bring their files back from a backup",
            damaged.len()
        );
    }
    Ok(())
}

fn print_all(log: &Log) {
    let style = Style::for_stdout();
    for stream in log.streams().all() {
        let definition = stream.definition();
        println!(
            "{}  {}  {} series",
            style.bold(definition.name()),
            style.dim(definition.template().as_str()),
            thousands(stream.series().len() as u64)
        );
        for partition in stream.partitions() {
            inspect(partition, &format!("partition {}", partition.id()), style);
        }
    }
    println!("{}", style.bold("internal"));
    for which in InternalLog::ALL {
        inspect(log.internal(which), which.name(), style);
    }
}

/// Opens a directory that has been used before as the next start will find it; nothing in it is
/// written.
pub(crate) fn open(directory: &Path) -> Result<Arc<Log>> {
    check_directory(directory)?;
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(RealClock::new()));
    Log::open_read_only(disk, clock, LogConfig::new(directory))
        .with_context(|| format!("{} cannot be opened", directory.display()))
}

pub(crate) fn check_directory(directory: &Path) -> Result<()> {
    if !directory.join("catalog.redb").exists() {
        bail!("{} is no data directory of weir: it has no catalog.redb", directory.display());
    }
    Ok(())
}

fn inspect(partition: &Arc<Partition>, name: &str, style: Style) {
    let ends = partition.ends();
    let state = match partition.state() {
        PartitionState::Ready => style.green("ready"),
        PartitionState::ReadOnlyFull => style.yellow("read only, the disk is full"),
        PartitionState::Failed(why) => style.red(&format!("failed: {why}")),
        PartitionState::Corrupt(why) => style.red(&format!("corrupt: {why}")),
    };
    let (from, to) = (thousands(ends.log_start.0), thousands(ends.durable_end.0));
    println!("  {name:<14} {state}  rows {from} to {to}");
    for segment in partition.segments() {
        let rows = segment.end_offset.0 - segment.base_offset.0;
        let times = if segment.min_time <= segment.max_time {
            format!("{} .. {}", shown(segment.min_time), shown(segment.max_time))
        } else {
            "no rows".to_owned()
        };
        println!(
            "    {:020}  {:>12} rows  {:>14} bytes  {}  {times}",
            segment.base_offset.0,
            thousands(rows),
            thousands(segment.bytes),
            if segment.sealed { "sealed" } else { "open  " },
        );
    }
}

fn shown(time: EventTime) -> String {
    chrono::DateTime::from_timestamp_micros(time.0)
        .map(|time| time.format("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_else(|| time.0.to_string())
}
