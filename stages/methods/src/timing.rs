//! What a method costs: helpers of the timings that are run by hand, in release, with `--ignored --nocapture`.
//!
//! `CORESIFT_TIMING` gives the sizes, such as `5000,50000`, and `CORESIFT_METHODS` picks methods by a part
//! of their names.

use rustix::time::{ClockId, clock_gettime};
use std::time::Instant;

/// Returns the numbers of samples that were asked for.
#[expect(clippy::disallowed_methods, reason = "whoever runs it picks by hand")]
pub(crate) fn sizes() -> Vec<usize> {
    let sizes = std::env::var("CORESIFT_TIMING").unwrap_or_else(|_| "5000".to_owned());
    sizes.split(',').map(|n| n.parse().expect("it is a number")).collect()
}

/// Runs `work` for the method `name`, if it was asked for, and prints what it cost; `size` says how large
/// the work was.
#[expect(clippy::print_stderr, reason = "the figures are what it is run for")]
#[expect(clippy::disallowed_methods, reason = "whoever runs it picks by hand")]
pub(crate) fn time<T>(name: &str, size: impl Fn(&T) -> String, work: impl FnOnce() -> T) {
    if std::env::var("CORESIFT_METHODS")
        .is_ok_and(|some| !some.split(',').any(|part| name.contains(part)))
    {
        return;
    }
    peak();
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let made = work();
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let peak = peak().unwrap_or(f64::NAN);
    let size = size(&made);
    eprintln!("{name:30} {size}  {cpu:9.3} CPU s  {wall:9.3} s  {peak:8.0} MiB");
}

fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Returns the largest memory held since the last call, in MiB, where the system tells it.
fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    // 5 resets the high-water mark.
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    Some(kib / 1024.0)
}
