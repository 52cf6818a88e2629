//! Where things are: the checkout, the built programs, and the folder for clients of other languages.

use std::env;
use std::path::{Path, PathBuf};

/// The checkout's top folder.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in a folder of the checkout")
        .to_path_buf()
}

/// The folder of the profile that this test was built with, such as `target/release`.
fn profile_dir() -> PathBuf {
    let test = env::current_exe().expect("a running test has a path");
    // target/PROFILE/deps/test-hash, or target/PROFILE/program
    let folder = test.parent().expect("a program lies in a folder");
    if folder.ends_with("deps") {
        folder
            .parent()
            .expect("cargo puts tests two folders deep")
            .to_path_buf()
    } else {
        folder.to_path_buf()
    }
}

/// Where clients of other languages are built: nothing of theirs ends up in the checkout.
pub fn clients_dir() -> PathBuf {
    let dir = profile_dir()
        .parent()
        .expect("cargo's profile folder is inside the target folder")
        .join("clients");
    std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
    dir
}

/// One of our programs. Panics when it is not built: a test that silently skips says nothing.
pub fn binary(name: &str) -> PathBuf {
    let dir = env::var_os("RINGMQ_BIN_DIR").map_or_else(profile_dir, PathBuf::from);
    let path = dir.join(name);
    assert!(
        path.is_file(),
        "{} is not there: build it with `cargo build --bins` (with --release, if the tests run so), or set RINGMQ_BIN_DIR",
        path.display()
    );
    path
}
