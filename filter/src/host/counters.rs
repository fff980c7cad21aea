//! Counters and gauges as the host knows them.

use std::cell::Cell;

use super::abi::{self, OK};
use crate::metrics::{GAUGE_NAMES, Gauges, KEYS_GAUGE, Metric, NAMES};

const METRIC_COUNTER: u32 = 0;
const METRIC_GAUGE: u32 = 1;

/// The host's numbers for the counters and gauges. One that the host did not define shows nothing.
#[derive(Debug)]
pub(crate) struct Counters {
    counters: [Option<u32>; NAMES.len()],
    /// What was counted since the last report.
    unreported: [Cell<u32>; NAMES.len()],
    gauges: [Option<u32>; GAUGE_NAMES.len()],
    keys_seq: Option<u32>,
}

#[expect(unsafe_code, reason = "raw host call")]
fn define(kind: u32, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: the name is valid for its size, and the pointer for a write, during the call.
    let status = unsafe { abi::proxy_define_metric(kind, name.as_ptr(), name.len(), &mut id) };
    (status == OK).then_some(id)
}

#[expect(unsafe_code, reason = "raw host call")]
fn record(id: Option<u32>, value: u64) {
    if let Some(id) = id {
        // SAFETY: no pointers.
        unsafe { abi::proxy_record_metric(id, value) };
    }
}

impl Counters {
    /// Defines all of them; once for each root context, because the host allocates anew each time.
    pub(crate) fn define() -> Self {
        Self {
            counters: NAMES.map(|(_, name)| define(METRIC_COUNTER, name)),
            unreported: [const { Cell::new(0) }; NAMES.len()],
            gauges: GAUGE_NAMES.map(|name| define(METRIC_GAUGE, name)),
            keys_seq: define(METRIC_GAUGE, KEYS_GAUGE),
        }
    }

    /// Shows what the copy of the log holds.
    pub(crate) fn show(&self, gauges: Gauges) {
        self.gauges.iter().zip(gauges.values()).for_each(|(id, value)| record(*id, value));
    }

    /// Shows how new the keys are that the control plane has handed out.
    pub(crate) fn show_keys(&self, seq: u64) {
        record(self.keys_seq, seq);
    }

    /// Adds one, to be reported with [`Self::report`].
    pub(crate) fn count(&self, metric: Metric) {
        if let Some(unreported) = self.unreported.get(metric.index()) {
            unreported.set(unreported.get().saturating_add(1));
        }
    }

    /// Reports to the host what was counted.
    #[expect(unsafe_code, reason = "raw host call")]
    pub(crate) fn report(&self) {
        for (id, unreported) in self.counters.iter().zip(&self.unreported) {
            let count = unreported.take();
            if let (Some(id), 1..) = (id, count) {
                // SAFETY: no pointers.
                unsafe { abi::proxy_increment_metric(*id, i64::from(count)) };
            }
        }
    }
}
