//! libFuzzer on one target, named by `FUZZ_TARGET`: one program for all, so that one build and one link do. `cargo xtask fuzz`
//! builds and runs it, and asks it by `FUZZ_ASK` what targets there are (`list`) or for a target's seeds (a folder to write to).
#![no_main]
#![expect(clippy::print_stdout, reason = "the list is for xtask to read")]

use std::path::Path;
use std::process::exit;
use std::sync::LazyLock;

static TARGET: LazyLock<&fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    fuzz::find(&name).expect("FUZZ_TARGET names a target; `cargo xtask fuzz --list` lists them")
});

fn answer(question: &str) -> std::io::Result<()> {
    if question == "list" {
        for target in fuzz::TARGETS {
            println!("{} {} {}", target.name, target.input_max, target.share);
        }
        return Ok(());
    }
    for (number, seed) in fuzz::seeds(TARGET.name).iter().enumerate() {
        std::fs::write(Path::new(question).join(format!("seed-{number:03}")), seed)?;
    }
    Ok(())
}

libfuzzer_sys::fuzz_target!(
    init: {
        if let Ok(question) = std::env::var("FUZZ_ASK") {
            exit(i32::from(answer(&question).is_err()));
        }
    },
    |data: &[u8]| (TARGET.run)(data)
);
