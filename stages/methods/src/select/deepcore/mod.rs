//! The selectors as DeepCore's code makes them, defects included: what its figures are compared with.
//!
//! Each is made of the parts of the paper's method, which knows nothing of it. Guo, Zhao & Bai,
//! *DeepCore*, DEXA 2022; <https://github.com/PatrickZH/DeepCore>.

pub(super) mod cal;
pub(super) mod craig;
pub(super) mod facility_location;
pub(super) mod glister;
mod gradients;
pub(super) mod gradmatch;
pub(super) mod graph_cut;
pub(super) mod herding;
pub(super) mod k_center;
pub(super) mod log_det;
mod numpy;
pub(super) mod random;

pub(crate) use gradients::{Release, batch_size, residuals};

use super::{Group, Picks, SelectInput, Selector};
use engine::{Becomes, Renamed};

/// Returns how these methods were written while they were a setting of the paper's.
pub(super) fn renamed() -> Vec<Renamed> {
    let by_compat = [
        ("select.cal", "select.deepcore.cal", &[][..], false),
        ("select.craig", "select.deepcore.craig", &[], true),
        ("select.facility-location", "select.deepcore.facility-location", &[], true),
        ("select.glister", "select.deepcore.glister", &["eta", "every"], true),
        ("select.gradmatch", "select.deepcore.gradmatch", &[], true),
        ("select.graph-cut", "select.deepcore.graph-cut", &[], true),
        ("select.herding", "select.deepcore.herding", &[], false),
        ("select.log-det", "select.deepcore.log-det", &["ridge"], true),
    ];
    let mut all: Vec<Renamed> = by_compat
        .into_iter()
        .flat_map(|(method, now, unused, has_releases)| compat(method, now, unused, has_releases))
        .collect();
    for (method, now) in [
        ("select.random", "select.deepcore.random"),
        ("select.k-center", "select.deepcore.k-center"),
    ] {
        let setting = &["rule", "numpy-seed"];
        let becomes = Becomes::Moved(setting);
        all.push(Renamed { method, setting, value: None, now, becomes, unused: &[] });
    }
    for method in ["select.craig", "select.glister", "select.gradmatch"] {
        all.push(unused_batch(method));
    }
    all
}

/// Returns how `method` was written as `now`: with `rule.compat`.
pub(crate) fn compat(
    method: &'static str,
    now: &'static str,
    unused: &'static [&'static str],
    has_releases: bool,
) -> [Renamed; 3] {
    let setting = &["rule", "compat"];
    let is = |value, now, becomes, unused| Renamed {
        method,
        setting,
        value: Some(value),
        now,
        becomes,
        unused,
    };
    let of_2022 = match has_releases {
        true => Becomes::Value(&["rule", "release"], "2022"),
        false => Becomes::Nothing,
    };
    [
        is("none", method, Becomes::Nothing, &[]),
        is("deepcore", now, Becomes::Nothing, unused),
        is("deepcore-2022", now, of_2022, unused),
    ]
}

/// Returns how `method` was written when it had the batch size that DeepCore divides by.
pub(crate) fn unused_batch(method: &'static str) -> Renamed {
    let setting = &["rule", "batch"];
    Renamed { method, setting, value: None, now: method, becomes: Becomes::Nothing, unused: &[] }
}
