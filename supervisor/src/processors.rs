//! How many processors this process may use: the scheduling affinity (sched_getaffinity(2)) and the processor quotas of
//! its control groups. The standard library rounds a quota down; one and a half processors are worth two workers here.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

/// Processors this process may use, at least 1.
pub fn available_processors() -> u16 {
    let quota = quota(Path::new("/"));
    affinity().min(quota.unwrap_or(u64::MAX)).clamp(1, u64::from(u16::MAX)) as u16
}

fn affinity() -> u64 {
    match sched_getaffinity(Pid::from_raw(0)) {
        Ok(set) => (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count() as u64,
        // More processors than the set has bits; the standard library reads larger ones.
        Err(_) => std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
    }
}

/// The tightest quota on the way from this process's groups to the root, rounded up; `None` without one.
fn quota(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    groups.lines().filter_map(|line| group_quota(root, line)).min()
}

/// Reads the quota of one group's directory, in processors.
type Read = fn(&Path) -> Option<u64>;

/// One line of `/proc/self/cgroup` (cgroups(7)): hierarchy, controllers, path.
fn group_quota(root: &Path, line: &str) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, group) = (fields.next()?, fields.next()?);
    let (mounts, read): (_, Read) = if controllers.is_empty() {
        (["sys/fs/cgroup", "sys/fs/cgroup/unified"], quota_v2)
    } else if controllers.split(',').any(|controller| controller == "cpu") {
        (["sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"], quota_v1)
    } else {
        return None;
    };
    let group = Path::new(group.trim_start_matches('/'));
    let candidates = mounts.iter().flat_map(|mount| {
        // In a container the path may be that of the host while the mount shows only our part of it.
        group.ancestors().map(move |part| PathBuf::from(mount).join(part))
    });
    candidates.filter_map(|directory| read(&root.join(directory))).min()
}

/// `cpu.max`: quota and period in microseconds, or `max`.
fn quota_v2(directory: &Path) -> Option<u64> {
    let text = fs::read_to_string(directory.join("cpu.max")).ok()?;
    let mut numbers = text.split_ascii_whitespace().map(|number| number.parse::<u64>().ok());
    rounded_up(numbers.next()??, numbers.next()??)
}

/// `cpu.cfs_quota_us` (-1 = none) and `cpu.cfs_period_us`.
fn quota_v1(directory: &Path) -> Option<u64> {
    let number = |file| fs::read_to_string(directory.join(file)).ok()?.trim().parse::<u64>().ok();
    rounded_up(number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
}

fn rounded_up(quota: u64, period: u64) -> Option<u64> {
    (period > 0).then(|| quota.div_ceil(period))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn this_machine_has_at_least_one_and_no_more_than_it_has() {
        let most = std::thread::available_parallelism().unwrap().get() as u16 + 1;
        assert!((1..=most).contains(&available_processors()));
    }

    #[test]
    fn version_2_takes_the_tightest_quota_above_and_rounds_up() {
        let root = system(&[
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/cpu.max", "400000 100000\n"),
            ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
        ]);
        assert_eq!(quota(root.path()), Some(2));
    }

    #[test]
    fn version_1_and_mixed_hierarchies_are_read() {
        let root = system(&[
            ("proc/self/cgroup", "4:memory:/x\n2:cpu,cpuacct:/x\n0::/y\n"),
            ("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(quota(root.path()), Some(1));
    }

    #[test]
    fn no_limit_and_nonsense_are_no_quota() {
        let none = system(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "max 100000\n")]);
        assert_eq!(quota(none.path()), None);
        let unset = system(&[
            ("proc/self/cgroup", "2:cpu:/\nx\n::\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "0\n"),
        ]);
        assert_eq!(quota(unset.path()), None);
        assert_eq!(quota(tempfile::tempdir().unwrap().path()), None);
    }
}
