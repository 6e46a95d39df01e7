//! What overload counts.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use super::Stage;
use super::plan::Plan;
use crate::ledger::{Kind, Ledger};

/// Handles registered once.
pub(super) struct Figures {
    limit: Gauge,
    working_set: Gauge,
    accounted: Gauge,
    unaccounted: Gauge,
    max_connections: Gauge,
    reserved: [Gauge; Kind::ALL.len()],
    reservable: Gauge,
    waiting: Gauge,
    stage: Gauge,
    changes: [Counter; Stage::ALL.len()],
}

impl Figures {
    pub(super) fn new() -> Self {
        let change = |stage: Stage| counter!("postern_overload_stage_changes_total", "stage" => stage.as_str());
        let figures = Self {
            limit: gauge!("postern_memory_limit_bytes"),
            working_set: gauge!("postern_memory_working_set_bytes"),
            accounted: gauge!("postern_memory_accounted_bytes"),
            unaccounted: gauge!("postern_memory_unaccounted_bytes"),
            max_connections: gauge!("postern_max_connections"),
            reserved: Kind::ALL.map(|kind| gauge!("postern_memory_reserved_bytes", "kind" => kind.as_str())),
            reservable: gauge!("postern_memory_reservable_bytes"),
            waiting: gauge!("postern_memory_waiting"),
            stage: gauge!("postern_overload_stage"),
            changes: Stage::ALL.map(change),
        };
        figures.stage.set(0.0);
        Self::plan(None);
        figures
    }

    /// Zero if there is none.
    pub(super) fn limit(&self, bytes: u64) {
        self.limit.set(bytes as f64);
    }

    /// Sets what the kernel counts, and what the gateway knows of it: the fixed part, the configuration, certificates and
    /// reservations.
    pub(super) fn working_set(&self, bytes: u64, accounted: u64) {
        self.working_set.set(bytes as f64);
        self.accounted.set(accounted as f64);
        self.unaccounted.set(bytes as f64 - accounted as f64);
    }

    /// How many may be open.
    pub(super) fn max_connections(&self, connections: usize) {
        self.max_connections.set(connections as f64);
    }

    /// Sets what clients hold, and may hold.
    pub(super) fn ledger(&self, ledger: &Ledger) {
        for kind in Kind::ALL {
            self.reserved[kind as usize].set(ledger.used_for(kind) as f64);
        }
        self.reservable.set(ledger.total() as f64);
        self.waiting.set(ledger.waiting() as f64);
    }

    pub(super) fn stage(&self, stage: Stage) {
        self.stage.set(f64::from(stage as u8));
        self.changes[stage as usize].increment(1);
    }

    /// It changes a few times in a process's life.
    pub(super) fn plan(plan: Option<&Plan>) {
        const NONE: Plan = Plan {
            limit: 0,
            fixed: 0,
            routes: 0,
            certificates: 0,
            sealed: 0,
            connections: 0,
            max_connections: 0,
            headroom: 0,
        };
        for (part, bytes) in plan.unwrap_or(&NONE).parts() {
            gauge!("postern_memory_plan_bytes", "part" => part).set(bytes as f64);
        }
    }
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

/// Describes the metrics of this module to the recorder.
pub(crate) fn describe_metrics() {
    crate::ledger::describe_metrics();
    describe_gauge!(
        "postern_memory_limit_bytes",
        Unit::Bytes,
        "The memory limit of the process, by cgroup or setting; 0 if there is none."
    );
    describe_gauge!(
        "postern_memory_working_set_bytes",
        Unit::Bytes,
        "What counts against the limit: as the kubelet computes it for a cgroup, RSS for a limit by setting."
    );
    describe_gauge!(
        "postern_memory_accounted_bytes",
        Unit::Bytes,
        "What the gateway knows of the working set: its fixed part, the configuration, certificates and reservations."
    );
    describe_gauge!(
        "postern_memory_unaccounted_bytes",
        Unit::Bytes,
        "The working set less what is accounted for; negative where what was reserved has not been used."
    );
    describe_gauge!("postern_memory_allocated_bytes", Unit::Bytes, "What the process has allocated on the heap.");
    describe_gauge!(
        "postern_memory_resident_bytes",
        Unit::Bytes,
        "Memory that the allocator has for the heap: what is not allocated lies in pages partly used or is given back soon."
    );
    describe_gauge!("postern_memory_plan_bytes", Unit::Bytes, "How the memory limit is divided, by part.");
    describe_gauge!(
        "postern_max_connections",
        Unit::Count,
        "How many connections may be open: as many as are set, or as the memory plan has room for."
    );
    describe_gauge!(
        "postern_overload_stage",
        Unit::Count,
        "What is done as memory runs short: 0 nothing, 1 shrink the certificate cache, 2 close connections, 3 refuse."
    );
    describe_counter!(
        "postern_overload_stage_changes_total",
        Unit::Count,
        "Times that a stage of overload began, by stage."
    );
    describe_counter!(
        "postern_overload_refused_total",
        Unit::Count,
        "What was refused for lack of memory: connections, handshakes, or requests (with 503)."
    );
}
