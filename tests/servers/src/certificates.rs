//! An authority, and what it signed, as PEM files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// An authority with a certificate for 127.0.0.1 and localhost, which serves as server's and as client's. Made anew each time: two
/// of them do not trust each other.
#[derive(Debug)]
pub struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    /// Makes them with `openssl`.
    ///
    /// # Panics
    /// It is not installed.
    pub fn make() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        let extensions = "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n";
        fs::write(path.join("extensions"), extensions).expect("a file in a temporary folder");
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        openssl(
            path,
            &["req", "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority", "-days", "2"],
            &key,
        );
        openssl(path, &["req", "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=localhost"], &key);
        openssl(
            path,
            &["x509", "-req", "-in", "own.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"],
            &["-extfile", "extensions", "-out", "own.pem"],
        );
        Self { folder }
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The certificate.
    pub fn cert(&self) -> PathBuf {
        self.folder.path().join("own.pem")
    }

    /// Its key.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("own.key")
    }
}

fn openssl(folder: &Path, arguments: &[&str], more: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .args(more)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed (scripts/test installs it)");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
