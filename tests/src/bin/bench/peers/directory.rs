//! Files that all peers share: the certificate, bodies, and a place for configurations and logs.

use std::fs;
use std::path::{Path, PathBuf};

use postern_tests::Result;
use postern_tests::ca::{Issued, TestCa};
use tempfile::TempDir;

/// Host of the requests: the name that wrk and h2load send without being told another.
pub(super) const HOST: &str = "localhost";

/// Size of an upload in bytes.
const UPLOAD: usize = 64 * 1024;

/// A gRPC request: not compressed, five bytes.
const GRPC: &[u8] = b"\x00\x00\x00\x00\x05hello";

/// A script for wrk that uploads the file beside it.
const UPLOAD_SCRIPT: &str =
    "wrk.method = 'POST'\nlocal file = io.open(os.getenv('UPLOAD'), 'rb')\nwrk.body = file:read('*a')\nfile:close()\n";

/// The directory; removed on drop.
pub(super) struct Directory {
    directory: TempDir,
    pub(super) certificate: Issued,
}

impl Directory {
    pub(super) fn create() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("postern-peers-").tempdir()?;
        let certificate = TestCa::new()?.issue(&[HOST])?;
        let created = Self { directory, certificate };
        let Issued { chain, key, .. } = &created.certificate;
        created.write("chain.pem", chain)?;
        created.write("key.pem", key)?;
        created.write("both.pem", format!("{chain}{key}"))?;
        created.write("upload", vec![b'u'; UPLOAD])?;
        created.write("upload.lua", UPLOAD_SCRIPT)?;
        created.write("grpc", GRPC)?;
        Ok(created)
    }

    pub(super) fn root(&self) -> &Path {
        self.directory.path()
    }

    /// The path of a file, whether it is there or not.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    pub(super) fn write(&self, file: &str, contents: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, contents)?;
        Ok(path)
    }
}
