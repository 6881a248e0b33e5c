//! Calls that fail: which, when, how often, how.
//!
//! Promise: what is planned strikes exactly the calls it names, counted from the plan on.

use std::io;
use std::path::Path;

/// The calls a failure can be planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    /// One of `File::pwrite`'s.
    Write,
    /// One of `File::pread`'s.
    Read,
    /// One of `File::sync_data`'s.
    Sync,
    /// One of `File::allocate`'s.
    Allocate,
    /// One of `File::set_len`'s.
    SetLen,
    /// `File::len`.
    Len,
    /// `Disk::open`.
    Open,
    /// `Disk::create_directories`.
    CreateDirectories,
    /// `Disk::list`.
    List,
    /// `Disk::exists`.
    Exists,
    /// `Disk::rename`.
    Rename,
    /// `Disk::unlink`.
    Unlink,
    /// `Disk::sync_directory`.
    SyncDirectory,
    /// `Disk::space`.
    Space,
    /// `Disk::lock`.
    Lock,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Write,
        Self::Read,
        Self::Sync,
        Self::Allocate,
        Self::SetLen,
        Self::Len,
        Self::Open,
        Self::CreateDirectories,
        Self::List,
        Self::Exists,
        Self::Rename,
        Self::Unlink,
        Self::SyncDirectory,
        Self::Space,
        Self::Lock,
    ];
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// With an error. `Interrupted`: nothing happened. A write may otherwise be there in part; a sync
    /// has forgotten what it should have written.
    Error(io::ErrorKind),
    /// With an error; and of a sync, what was dirty is gone from memory too: a reader gets what is on the
    /// platters, as some file systems have it.
    Dropped,
    /// A read or write of half the bytes; other calls are not touched.
    Short,
}

/// How often a plan strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Times {
    /// Once.
    Once,
    /// From then on.
    Always,
}

/// Where a misdirected write goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Misdirection {
    /// Into the same file, so many bytes further on.
    Further(u64),
    /// Into the first other file whose path contains this, at the same position.
    Into(String),
}

/// Failures to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The kind of call; any when `None`.
    pub call: Option<Call>,
    /// What its path must contain.
    pub part: String,
    /// So many such calls pass first.
    pub skip: u64,
    /// How often it strikes.
    pub times: Times,
    /// How the call fails.
    pub fault: Fault,
}

impl Plan {
    /// The next `call` on a path that contains `part` fails.
    pub fn next(call: Call, part: &str, fault: Fault) -> Self {
        Self { call: Some(call), part: part.to_owned(), skip: 0, times: Times::Once, fault }
    }

    /// From now on every `call` on a path that contains `part` fails.
    pub fn always(call: Call, part: &str, fault: Fault) -> Self {
        Self { times: Times::Always, ..Self::next(call, part, fault) }
    }

    /// The call after `skip` others, whatever it is, fails.
    pub fn nth(skip: u64, fault: Fault) -> Self {
        Self { call: None, part: String::new(), skip, times: Times::Once, fault }
    }

    fn fits(&self, call: Call, path: &Path) -> bool {
        self.call.is_none_or(|planned| planned == call)
            && (self.part.is_empty() || path.to_string_lossy().contains(self.part.as_str()))
    }
}

/// Everything planned for a disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    plans: Vec<Plan>,
    misdirected: Option<(String, Misdirection)>,
}

impl Faults {
    pub(super) fn add(&mut self, plan: Plan) {
        self.plans.push(plan);
    }

    pub(super) fn misdirect(&mut self, part: &str, to: Misdirection) {
        self.misdirected = Some((part.to_owned(), to));
    }

    /// What strikes this call: the first plan whose turn it is.
    pub(super) fn strike(&mut self, call: Call, path: &Path) -> Option<Fault> {
        let mut due = None;
        for (index, plan) in self.plans.iter_mut().enumerate() {
            if !plan.fits(call, path) {
                continue;
            }
            if plan.skip > 0 {
                plan.skip -= 1;
            } else if due.is_none() {
                due = Some(index);
            }
        }
        let plan = &self.plans[due?];
        let fault = plan.fault;
        if plan.times == Times::Once {
            self.plans.remove(due?);
        }
        Some(fault)
    }

    /// Where a write to `path` goes instead.
    pub(super) fn misdirection(&mut self, path: &Path) -> Option<Misdirection> {
        let strikes =
            |(part, _): &mut (String, Misdirection)| path.to_string_lossy().contains(part.as_str());
        self.misdirected.take_if(strikes).map(|(_, to)| to)
    }
}
