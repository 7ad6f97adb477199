//! Descriptors that the service manager kept from an earlier supervisor of this service: sd_listen_fds(3), and FDSTORE of
//! sd_notify(3). `notify.rs` is where they were given to it.

use std::env;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{info, warn};

use crate::listen::{Inherited, close};
use crate::spawn::take_over;

/// The name of the commons in the manager's store.
pub(crate) const COMMONS_NAME: &str = "commons";
/// The name of the scoreboard in the manager's store.
pub(crate) const SCOREBOARD_NAME: &str = "scoreboard";

/// The first descriptor that is passed (SD_LISTEN_FDS_START).
const FIRST_FD: RawFd = 3;
/// More descriptors than a supervisor can have given to the store: 256 slots of 16 addresses, and a few.
const FDS_MAX: u16 = 8_192;
/// What sd_listen_fds_with_names(3) calls a descriptor without a name.
const UNNAMED: &str = "unknown";

/// What an earlier supervisor left.
#[derive(Debug, Default)]
pub(crate) struct Estate {
    pub(crate) listeners: Inherited,
    pub(crate) commons: Option<OwnedFd>,
    pub(crate) scoreboard: Option<OwnedFd>,
}

/// Descriptors that the service manager passed to this process, with their names, close-on-exec.
#[derive(Debug, Default)]
pub struct Passed {
    descriptors: Vec<(String, OwnedFd)>,
    /// What was wrong with them, to be told once there is a log.
    complaints: Vec<String>,
}

impl Passed {
    /// Takes those that are meant for this process (sd_listen_fds(3)). To be called once, before the program opens anything: the
    /// numbers are taken at their word. A later call finds none.
    pub fn take() -> Self {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        let mut passed = Self::default();
        if TAKEN.swap(true, Ordering::Relaxed) {
            return passed;
        }
        let variable = |name| env::var(name).ok();
        let [pid, count, names] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"].map(variable);
        match listed(pid.as_deref(), count.as_deref(), names.as_deref(), std::process::id()) {
            Ok(listed) => {
                for (name, fd) in listed {
                    match take_over(fd) {
                        Ok(owned) => passed.descriptors.push((name, owned)),
                        Err(error) => passed.complaints.push(format!("{name}, number {fd}: {error}")),
                    }
                }
            }
            Err(reason) => passed.complaints.push(reason.to_owned()),
        }
        passed
    }

    /// The descriptors; what was wrong is logged.
    pub(crate) fn tell(self) -> Vec<(String, OwnedFd)> {
        for complaint in self.complaints {
            warn!(complaint, "A descriptor of the service manager could not be taken over.");
        }
        self.descriptors
    }
}

/// Tells the descriptors apart by their names.
pub(crate) fn sort(taken: Vec<(String, OwnedFd)>) -> Estate {
    let mut estate = Estate::default();
    if !taken.is_empty() {
        info!(descriptors = taken.len(), "Descriptors that an earlier supervisor left are taken over.");
    }
    for (name, fd) in taken {
        match name.as_str() {
            COMMONS_NAME => estate.commons = Some(fd),
            SCOREBOARD_NAME => estate.scoreboard = Some(fd),
            _ => estate.listeners.0.push((name, fd)),
        }
    }
    estate
}

/// Closes what is left once the settings took what they need: sockets of other addresses, of slots there are no more.
pub(crate) fn discard(left: Inherited) {
    for (name, fd) in left.0 {
        info!(name, "A descriptor that an earlier supervisor left fits nothing in the settings and is closed.");
        close(fd);
    }
}

/// Names and numbers by the variables of sd_listen_fds(3); none if they are meant for another process.
fn listed(
    pid: Option<&str>,
    count: Option<&str>,
    names: Option<&str>,
    own_pid: u32,
) -> Result<Vec<(String, RawFd)>, &'static str> {
    let (Some(pid), Some(count)) = (pid, count) else { return Ok(Vec::new()) };
    match pid.parse::<u32>() {
        Ok(pid) if pid == own_pid => {}
        // An ancestor got them and did not clean up.
        Ok(_) => return Ok(Vec::new()),
        Err(_) => return Err("LISTEN_PID is not a process id"),
    }
    let count: u16 = count.parse().map_err(|_| "LISTEN_FDS is not a number of descriptors")?;
    if count > FDS_MAX {
        return Err("LISTEN_FDS is more than 8192");
    }
    let mut names = names.into_iter().flat_map(|names| names.split(':'));
    Ok((FIRST_FD..).take(usize::from(count)).map(|fd| (names.next().unwrap_or(UNNAMED).to_owned(), fd)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn descriptors_are_counted_from_three_and_have_the_names_of_their_places() {
        let names = |names: Option<&str>| listed(Some("7"), Some("3"), names, 7).unwrap();
        let one = |name: &str, fd| (name.to_owned(), fd);
        assert_eq!(names(Some("admin:slot-0:slot-0")), [one("admin", 3), one("slot-0", 4), one("slot-0", 5)]);
        assert_eq!(names(Some("admin")), [one("admin", 3), one("unknown", 4), one("unknown", 5)]);
        assert_eq!(names(Some("::slot-1")), [one("", 3), one("", 4), one("slot-1", 5)]);
        assert_eq!(names(None)[2], one("unknown", 5));
    }

    #[test]
    fn those_of_another_process_are_left_alone_and_nonsense_is_named() {
        for (pid, count) in [(Some("8"), Some("1")), (None, Some("1")), (Some("7"), None), (Some("7"), Some("0"))] {
            assert_eq!(listed(pid, count, None, 7), Ok(Vec::new()), "{pid:?} {count:?}");
        }
        for (pid, count) in [("x", "1"), ("", "1"), ("7", "-1"), ("7", "x"), ("7", "99999999999")] {
            assert!(listed(Some(pid), Some(count), None, 7).is_err(), "{pid} {count}");
        }
        assert_eq!(listed(Some("7"), Some("8193"), None, 7), Err("LISTEN_FDS is more than 8192"));
        assert_eq!(listed(Some("7"), Some("8192"), None, 7).unwrap().len(), 8192);
    }

    #[test]
    fn a_number_that_is_not_open_is_refused() {
        assert!(take_over(1_000_000).is_err() && take_over(-1).is_err() && take_over(2).is_err());
    }
}
