//! Which server gave an answer, and whether it is a master.

/// Names one run of one server: a restart and a failover give another one. All processes give the same name to the same run.
///
/// It is a hash (FNV-1a, 64 bits) of the server's `run_id` (INFO, section server).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerId(pub u64);

/// What INFO tells about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) server: ServerId,
    pub(crate) is_master: bool,
}

impl Identity {
    /// Reads the sections server and replication of INFO. None if a line is missing.
    pub(crate) fn parse(server: &str, replication: &str) -> Option<Self> {
        let run_id = field(server, "run_id").filter(|id| !id.is_empty())?;
        Some(Self { server: ServerId(fnv_1a(run_id)), is_master: is_master(replication)? })
    }
}

/// Whether a server says it is a master in the section replication of INFO. None if it does not say.
pub(crate) fn is_master(replication: &str) -> Option<bool> {
    field(replication, "role").map(|role| role == "master")
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

fn fnv_1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_run() {
        let server = |id: &str| format!("# Server\r\nredis_version:7.0.15\r\nrun_id:{id}\r\ntcp_port:6379\r\n");
        let one = Identity::parse(&server("aa"), "# Replication\r\nrole:master\r\n").unwrap();
        assert!(one.is_master);
        assert_eq!(one, Identity::parse(&server("aa"), "role:master\r\n").unwrap());
        assert_ne!(one.server, Identity::parse(&server("ab"), "role:master\r\n").unwrap().server);
        assert!(!Identity::parse(&server("aa"), "role:slave\r\n").unwrap().is_master);
        assert_eq!(Identity::parse("", "role:master\r\n"), None);
        assert_eq!(Identity::parse(&server(""), "role:master\r\n"), None);
        assert_eq!(Identity::parse(&server("aa"), "tenrole:master"), None);
    }
}
