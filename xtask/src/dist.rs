//! Programs for servers, in an archive: built, loaded, and built again with what the load has told the compiler.
//!
//! Profile-guided optimisation (<https://doc.rust-lang.org/rustc/profile-guided-optimization.html>): the compiler lays out and inlines
//! by how often each branch was taken. The profile is of this very source, so it is made here and not kept in the repository.

mod training;

use crate::run;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is in the archive, and the packages that have it.
const PROGRAMS: [(&str, &str); 6] = [
    ("mqbroker", "broker"),
    ("mqnamesrv", "namesrv"),
    ("ringmq", "ringmq"),
    ("mqadmin", "tools"),
    ("mqstore", "tools"),
    ("mqbench", "bench"),
];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Build as `cargo build --release` does: half the time, more CPU a message.
    #[arg(long)]
    no_profile: bool,
    /// Leave out the archive.
    #[arg(long)]
    no_archive: bool,
    /// Programs to build.
    #[arg(long, value_delimiter = ',', value_parser = PROGRAMS.map(|(program, _)| program), default_values = PROGRAMS.map(|(program, _)| program))]
    only: Vec<String>,
}

/// Folders of one run, all below `target/dist`.
struct Places {
    top: PathBuf,
    host: String,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let places = Places {
        top: run::target().join("dist"),
        host: host()?,
    };
    let flags = if options.no_profile {
        String::new()
    } else {
        let profile = places.make_profile()?;
        format!("-Cprofile-use={}", profile.display())
    };
    let built = places.build("build", &options.only, &flags)?;
    let name = format!("ringmq-{}-{}", env!("CARGO_PKG_VERSION"), places.host);
    let folder = places.top.join(&name);
    gather(&folder, &built, &options.only)?;
    println!("programs: {}", folder.join("bin").display());
    if !options.no_archive {
        let archive = places.top.join(format!("{name}.tar.gz"));
        run::check("tar", &["-C", text(&places.top), "-czf", text(&archive), &name])?;
        println!("archive: {}", archive.display());
    }
    Ok(())
}

impl Places {
    /// Builds programs that count, loads them, and puts together what they have counted.
    fn make_profile(&self) -> Result<PathBuf, String> {
        let profdata = profdata()?;
        let counts = self.top.join("counts");
        renew(&counts)?;
        let counted = ["mqbroker", "mqnamesrv", "mqbench"].map(str::to_owned);
        let flags = format!("-Cprofile-generate={}", counts.display());
        let programs = self.build("counting", &counted, &flags)?;
        let data = self.top.join("training");
        renew(&data)?;
        let trained = training::run(&programs, &data);
        remove(&data)?;
        trained?;
        let profile = self.top.join("ringmq.profdata");
        run::check(text(&profdata), &["merge", "--output", text(&profile), text(&counts)])?;
        Ok(profile)
    }

    /// Builds programs in a folder of their own, where cargo finds them again next time; returns where they are.
    fn build(&self, folder: &str, programs: &[String], flags: &str) -> Result<PathBuf, String> {
        let target = self.top.join(folder);
        // With a target named, the flags are not for build scripts and macros.
        let mut arguments = vec!["build", "--release", "--target", &self.host];
        for (program, package) in PROGRAMS {
            if programs.iter().any(|wanted| wanted == program) {
                arguments.extend(["--package", package, "--bin", program]);
            }
        }
        let variables = [
            ("RUSTFLAGS", flags),
            ("CARGO_TARGET_DIR", text(&target)),
            ("CARGO_PROFILE_RELEASE_STRIP", "debuginfo"),
        ];
        run::check_with("cargo", &arguments, &variables)?;
        Ok(target.join(&self.host).join("release"))
    }
}

/// Lays out what the archive holds.
fn gather(folder: &Path, built: &Path, programs: &[String]) -> Result<(), String> {
    renew(folder)?;
    let bin = folder.join("bin");
    make(&bin)?;
    for program in programs {
        let to = bin.join(program);
        copy(&built.join(program), &to)?;
        if !run::answers(text(&to), &["-h"]) {
            return Err(format!("{} -h fails", to.display()));
        }
    }
    for file in ["README.md", "CHANGELOG.md", "LICENSE"] {
        copy(&run::workspace().join(file), &folder.join(file))?;
    }
    let (from, to) = (run::workspace().join("docs"), folder.join("docs"));
    make(&to)?;
    for entry in fs::read_dir(&from).map_err(|error| format!("cannot list {}: {error}", from.display()))? {
        let entry = entry.map_err(|error| format!("cannot list {}: {error}", from.display()))?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// The target that the compiler builds for by itself.
fn host() -> Result<String, String> {
    let version = output_of(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| format!("rustc -vV names no host: {version}"))
}

/// The compiler's own tool for profiles, fetched if it is missing: another version of it may not read this one's counts.
fn profdata() -> Result<PathBuf, String> {
    let libraries = output_of(Command::new("rustc").args(["--print", "target-libdir"]))?;
    let tool = Path::new(libraries.trim()).with_file_name("bin").join("llvm-profdata");
    if !tool.exists() {
        run::check("rustup", &["component", "add", "llvm-tools"])?;
    }
    if tool.exists() {
        Ok(tool)
    } else {
        Err(format!(
            "{} is not there; fix: rustup component add llvm-tools, or cargo xtask dist --no-profile",
            tool.display()
        ))
    }
}

fn output_of(command: &mut Command) -> Result<String, String> {
    let output = command
        .current_dir(run::workspace())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", command.get_program().display()))?;
    String::from_utf8(output.stdout).map_err(|error| format!("{}: {error}", command.get_program().display()))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))
}

fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if folder.exists() => Err(format!("cannot remove {}: {error}", folder.display())),
        _removed => Ok(()),
    }
}

fn renew(folder: &Path) -> Result<(), String> {
    remove(folder)?;
    make(folder)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), to.display()))?;
    Ok(())
}
