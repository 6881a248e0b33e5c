//! Each call the log makes of its disk, one after another: the power goes during it, or it fails.
//!
//! Promise: the calls are counted, not drawn: none is left out.

use crate::climate::PARTITIONS;
use crate::script::{Ran, examine, perform};
use crate::seeds::{guarded, on_all_cores};
use std::io::ErrorKind;
use weir_ingest::io::{Call, Fault, Image, Plan, SimulatedDisk};

/// What each call is made to do; an input or output error is `Other`.
const FAULTS: [Fault; 5] = [
    Fault::Error(ErrorKind::Other),
    Fault::Dropped,
    Fault::Error(ErrorKind::StorageFull),
    Fault::Error(ErrorKind::Interrupted),
    Fault::Short,
];
/// Calls of the script that leave nothing out.
const CALLS_MIN: usize = 300;
/// Batches that the script commits together at most.
const TOGETHER: u64 = 2;

/// The calls of a run in which nothing fails, and what it confirmed.
pub(crate) fn calls() -> (Vec<String>, Ran) {
    let disk = SimulatedDisk::new(0);
    disk.record_calls();
    let ran = perform(&disk);
    assert!(ran.refusals.is_empty() && ran.lies.is_empty(), "{ran:?}");
    let calls = disk.recorded_calls();
    assert_eq!(ran.trims, u64::from(PARTITIONS), "the script removes segments of each partition");
    let kinds =
        [Call::Write, Call::Sync, Call::Rename, Call::SyncDirectory, Call::Allocate, Call::Unlink];
    for kind in kinds {
        assert!(calls.iter().any(|(call, _)| *call == kind), "the script makes no {kind:?}");
    }
    let told = |(call, path): &(Call, std::path::PathBuf)| format!("{call:?} {}", path.display());
    (calls.iter().map(told).collect(), ran)
}

/// One run of the script whose power goes during call `n`, and every image of the disk after it.
pub(crate) fn cut_during(n: usize) -> Result<usize, String> {
    let disk = SimulatedDisk::new(n as u64);
    disk.cut_power_in(n as u64);
    let ran = guarded(|| Ok(perform(&disk)))?;
    for image in Image::ALL {
        let after = disk.fork(n as u64 * 31 + 7);
        after.restart_with(image);
        guarded(|| examine(&after, &ran)).map_err(|violation| format!("{image:?}: {violation}"))?;
    }
    Ok(Image::ALL.len())
}

#[test]
fn the_power_may_go_during_any_call_and_leave_any_image() {
    let (calls, _) = calls();
    assert!(calls.len() >= CALLS_MIN, "{} calls", calls.len());
    let all: Vec<usize> = (0..calls.len()).collect();
    let (images, violations) = on_all_cores(&all, |n| {
        cut_during(*n).map_err(|violation| format!("call {n}, {}: {violation}", calls[*n]))
    });
    assert!(violations.is_empty(), "{}:\n{}", violations.len(), violations.join("\n"));
    let images: usize = images.iter().sum();
    println!("{} calls, {images} images", calls.len());
    assert_eq!(images, calls.len() * 5, "five of each");
}

/// One run of the script whose call `n` fails, and a power cut after it.
pub(crate) fn failing(n: usize, fault: Fault, unharmed: Option<&Ran>) -> Result<u64, String> {
    let disk = SimulatedDisk::new(n as u64);
    disk.plan(Plan::nth(n as u64, fault));
    let ran = guarded(|| Ok(perform(&disk)))?;
    if fault == Fault::Short && unharmed.is_some_and(|whole| ran.confirmed != whole.confirmed) {
        return Err(format!("a short call is not gone on with: {:?}", ran.refusals));
    }
    for image in [Image::KeepAll, Image::None, Image::Random] {
        let after = disk.fork(n as u64);
        after.restart_with(image);
        guarded(|| examine(&after, &ran)).map_err(|violation| format!("{image:?}: {violation}"))?;
    }
    Ok(ran.confirmed.iter().sum())
}

/// Whether nothing but what was in the struck call may be refused: there was no room for it. Where a sync
/// of the catalog says so nobody knows what is durable, and that is a failed disk; a partition whose files
/// could not be recovered stays closed until the next start.
fn only_struck(n: usize, call: &str, unharmed: &Ran) -> bool {
    let in_recovery = unharmed.openings.iter().any(|opening| opening.contains(&n));
    let never_opened = in_recovery && call.contains(" /data/streams/");
    !never_opened && !call.starts_with("Sync /data/catalog")
}

#[test]
fn any_call_may_fail_in_any_way() {
    let (calls, unharmed) = calls();
    let cases: Vec<(usize, Fault)> =
        (0..calls.len()).flat_map(|n| FAULTS.map(|fault| (n, fault))).collect();
    let all = unharmed.confirmed.iter().sum::<u64>();
    let (confirmed, violations) = on_all_cores(&cases, |(n, fault)| {
        failing(*n, *fault, Some(&unharmed))
            .and_then(|confirmed| {
                let full = *fault == Fault::Error(ErrorKind::StorageFull);
                if full && only_struck(*n, &calls[*n], &unharmed) && confirmed + TOGETHER < all {
                    return Err(format!("{confirmed} of {all} batches were confirmed"));
                }
                Ok(confirmed)
            })
            .map_err(|violation| format!("call {n}, {}, {fault:?}: {violation}", calls[*n]))
    });
    assert!(violations.is_empty(), "{}:\n{}", violations.len(), violations.join("\n"));
    let least = confirmed.iter().min();
    assert!(cases.len() >= CALLS_MIN * FAULTS.len(), "{} failures", cases.len());
    println!("{} failures; of {all} batches at least {least:?} were confirmed", cases.len());
}

#[test]
fn a_disk_that_fails_for_good_in_one_partition_stops_only_that_one() {
    let unharmed = calls().1;
    let kinds = [Call::Write, Call::Sync, Call::Allocate, Call::Rename, Call::SyncDirectory];
    let cases: Vec<(Call, u64)> =
        kinds.into_iter().flat_map(|call| [0, 1, 5, 12].map(|skip| (call, skip))).collect();
    let (_, violations) = on_all_cores(&cases, |(call, skip)| {
        let disk = SimulatedDisk::new(*skip);
        let fault = Fault::Error(ErrorKind::Other);
        disk.plan(Plan { skip: *skip, ..Plan::always(*call, "climate-1/0", fault) });
        let ran = guarded(|| Ok(perform(&disk)))?;
        if ran.confirmed[1] != unharmed.confirmed[1] {
            return Err(format!("{call:?} after {skip}: {:?}", ran.refusals));
        }
        disk.restart();
        guarded(|| examine(&disk, &ran)).map_err(|v| format!("{call:?} after {skip}: {v}"))
    });
    assert!(violations.is_empty(), "{}:\n{}", violations.len(), violations.join("\n"));
}
