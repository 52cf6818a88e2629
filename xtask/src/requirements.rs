//! What the tests need beside Rust: looked for first, installed if it is missing and we may, named if we may not.

use crate::run;

struct Requirement {
    /// What to run to see whether it is there.
    program: &'static str,
    argument: &'static str,
    /// Debian's package.
    package: &'static str,
    /// What for.
    needed_for: &'static str,
}

const CLIENTS: [Requirement; 5] = [
    Requirement {
        program: "javac",
        argument: "-version",
        package: "openjdk-17-jdk-headless",
        needed_for: "Java clients",
    },
    Requirement {
        program: "mvn",
        argument: "--version",
        package: "maven",
        needed_for: "Java clients and mqadmin",
    },
    Requirement {
        program: "go",
        argument: "version",
        package: "golang-go",
        needed_for: "the Go client",
    },
    Requirement {
        program: "python3",
        argument: "--version",
        package: "python3-venv",
        needed_for: "the C++ client",
    },
    Requirement {
        program: "strace",
        argument: "--version",
        package: "strace",
        needed_for: "proof that mqstore never writes",
    },
];

/// Makes sure that the tools of the client tests are there.
pub(crate) fn clients() -> Result<(), String> {
    let missing: Vec<&Requirement> = CLIENTS
        .iter()
        .filter(|tool| !run::answers(tool.program, &[tool.argument]))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    for tool in &missing {
        println!("{} is missing (needed for {})", tool.program, tool.needed_for);
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    let advice = format!("install these packages: {}", packages.join(" "));
    run::check("apt-get", &["update", "-q"]).map_err(|error| format!("{error}; {advice}"))?;
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(packages);
    run::check("apt-get", &arguments).map_err(|error| format!("{error}; {advice}"))
}

/// Makes sure that cargo-deny is there. A debug build of it is enough and takes a third of the time.
pub(crate) fn cargo_deny() -> Result<(), String> {
    if run::answers("cargo", &["deny", "--version"]) {
        return Ok(());
    }
    run::check("cargo", &["install", "--quiet", "--debug", "--locked", "cargo-deny"])
}
