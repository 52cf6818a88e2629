//! Disks: what is synced stays, what is not may go, and every kind of fault bites in some seeds.

use crate::{LIMIT, one_node, wait_for_stop};
use bytes::Bytes;
use runtime::file::{self, File, OpenOptions};
use runtime::sim::{FaultKind, Faults, MILLION, NodeId, Simulation, Stopped};
use std::future::Future;
use std::io;
use std::path::Path;

const STORE: &str = "/store";
const LOG: &str = "/store/log";

fn run<F>(simulation: &Simulation, node: NodeId, task: F) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    let outcome: Result<F::Output, Stopped> = simulation.block_on(node, task, LIMIT);
    outcome.unwrap_or_else(|stopped| panic!("seed {}: {stopped}", simulation.seed()))
}

/// A log in a synced directory, with 4 KiB of the byte 1, synced.
async fn make_log() -> File {
    file::create_directory(Path::new(STORE)).await.unwrap();
    let log = File::open(Path::new(LOG), OpenOptions::create_new()).await.unwrap();
    file::sync_directory(Path::new(STORE)).await.unwrap();
    log.write_at(0, &[Bytes::from(vec![1; 4096])]).await.unwrap();
    log.sync_data().await.unwrap();
    log
}

async fn write(log: &File, position: u64, byte: u8, size: usize) {
    log.write_at(position, &[Bytes::from(vec![byte; size])]).await.unwrap();
}

fn crash_and_restart(simulation: &Simulation, node: NodeId) {
    simulation.crash(node);
    simulation.restart(node);
}

#[test]
fn what_was_synced_outlives_every_power_cut_and_what_was_not_is_lost_in_some() {
    let mut lost = 0;
    for seed in 0..200 {
        let (simulation, node) = one_node(seed, Faults::power_cuts_only());
        run(&simulation, node, async {
            let log = make_log().await;
            write(&log, 4096, 2, 4096).await;
        });
        crash_and_restart(&simulation, node);
        let bytes = simulation.file(node, Path::new(LOG)).unwrap();
        assert_eq!(bytes[..4096], [1; 4096], "seed {seed}");
        if bytes.get(4096..8192) != Some(&[2; 4096]) {
            lost += 1;
        }
    }
    assert!((20..=180).contains(&lost), "lost in {lost} of 200 seeds");
}

#[test]
fn an_unsynced_write_is_torn_at_sectors_only_and_shows_old_or_new_bytes_only() {
    let mut torn = 0;
    for seed in 0..300 {
        let (simulation, node) = one_node(seed, Faults::power_cuts_only());
        run(&simulation, node, async {
            let log = make_log().await;
            write(&log, 0, 2, 4096).await;
        });
        crash_and_restart(&simulation, node);
        let bytes = simulation.file(node, Path::new(LOG)).unwrap();
        let sectors: Vec<u8> = bytes.chunks(512).map(|sector| sector[0]).collect();
        assert!(
            bytes
                .chunks(512)
                .all(|sector| sector.iter().all(|byte| *byte == sector[0]))
        );
        assert!(
            sectors.iter().all(|byte| [1, 2].contains(byte)),
            "seed {seed}: {sectors:?}"
        );
        if sectors.contains(&1) && sectors.contains(&2) {
            torn += 1;
        }
    }
    assert!(torn >= 20, "torn in {torn} of 300 seeds");
}

#[test]
fn a_later_write_outlives_an_earlier_one_in_some_seeds() {
    let reordered = (0..200)
        .filter(|&seed| {
            let (simulation, node) = one_node(seed, Faults::power_cuts_only());
            run(&simulation, node, async {
                let log = make_log().await;
                write(&log, 0, 2, 512).await;
                write(&log, 512, 3, 512).await;
            });
            crash_and_restart(&simulation, node);
            let bytes = simulation.file(node, Path::new(LOG)).unwrap();
            bytes[0] == 1 && bytes[512] == 3
        })
        .count();
    assert!(reordered >= 5, "reordered in {reordered} of 200 seeds");
}

#[test]
fn a_name_that_was_not_synced_is_lost_in_some_seeds_and_a_synced_one_never() {
    let mut lost = 0;
    for seed in 0..200 {
        let (simulation, node) = one_node(seed, Faults::power_cuts_only());
        run(&simulation, node, async {
            drop(make_log().await);
            let other = File::open(Path::new("/store/other"), OpenOptions::create_new())
                .await
                .unwrap();
            write(&other, 0, 5, 100).await;
            other.sync_data().await.unwrap();
        });
        crash_and_restart(&simulation, node);
        assert!(simulation.file(node, Path::new(LOG)).is_some(), "seed {seed}");
        lost += usize::from(simulation.file(node, Path::new("/store/other")).is_none());
    }
    assert!((10..=150).contains(&lost), "lost in {lost} of 200 seeds");
}

#[test]
fn a_replaced_file_holds_the_old_bytes_or_the_new_ones_whenever_the_power_goes() {
    let mut seen = [0; 2];
    for seed in 0..300 {
        let (simulation, node) = one_node(seed, Faults::power_cuts_only());
        let path = Path::new("/store/config");
        run(&simulation, node, async move {
            file::create_directory(Path::new(STORE)).await.unwrap();
            file::replace(path, vec![1; 3000]).await.unwrap();
        });
        let replaced = simulation.spawn(node, file::replace(path, vec![2; 2000]));
        let moment = std::time::Duration::from_micros(simulation.draw(4000));
        let _over = simulation.run_until(|| replaced.is_finished(), moment);
        let done = replaced.is_finished();
        crash_and_restart(&simulation, node);
        let bytes = simulation.file(node, path).unwrap();
        let new = bytes == [2; 2000];
        assert!(new || bytes == [1; 3000], "seed {seed}");
        assert!(new || !done, "seed {seed}: replace returned and was taken back");
        seen[usize::from(new)] += 1;
    }
    assert!(seen[0] > 30 && seen[1] > 30, "old, new: {seen:?}");
}

#[test]
fn a_kill_loses_nothing_that_was_written() {
    for seed in 0..20 {
        let (simulation, node) = one_node(seed, Faults::power_cuts_only());
        run(&simulation, node, async {
            let log = make_log().await;
            write(&log, 4096, 2, 1000).await;
        });
        simulation.kill(node);
        simulation.restart(node);
        let bytes = simulation.file(node, Path::new(LOG)).unwrap();
        assert_eq!(bytes.len(), 5096);
        assert_eq!(bytes[4096..], [2; 1000]);
    }
}

#[test]
fn after_a_failed_sync_the_next_one_succeeds_and_bytes_are_gone() {
    let mut gone = 0;
    for seed in 0..100 {
        let (simulation, node) = one_node(seed, Faults::none());
        let log = std::rc::Rc::new(run(&simulation, node, make_log()));
        simulation.set_faults(node, Faults::none().with(FaultKind::SyncError, MILLION));
        let first = std::rc::Rc::clone(&log);
        let failed = run(&simulation, node, async move {
            write(&first, 0, 2, 512).await;
            first.sync_data().await
        });
        assert_eq!(failed.unwrap_err().raw_os_error(), Some(5), "EIO");
        simulation.set_faults(node, Faults::none());
        let again = run(&simulation, node, async move { log.sync_data().await });
        assert!(again.is_ok());
        crash_and_restart(&simulation, node);
        gone += usize::from(simulation.file(node, Path::new(LOG)).unwrap()[0] == 1);
    }
    assert!((25..=75).contains(&gone), "gone in {gone} of 100 seeds");
}

#[test]
fn a_sync_does_not_cover_what_is_written_while_it_runs() {
    let mut lost = 0;
    for seed in 0..100 {
        let (simulation, node) = one_node(seed, Faults::power_cuts_only());
        run(&simulation, node, async {
            let log = make_log().await;
            let log = std::rc::Rc::new(log);
            let syncing = std::rc::Rc::clone(&log);
            write(&log, 0, 2, 512).await;
            let sync = runtime::spawn(async move { syncing.sync_data().await });
            runtime::sleep(std::time::Duration::from_micros(60)).await;
            write(&log, 512, 3, 512).await;
            sync.await.unwrap().unwrap();
        });
        crash_and_restart(&simulation, node);
        let bytes = simulation.file(node, Path::new(LOG)).unwrap();
        assert_eq!(bytes[0], 2, "seed {seed}");
        lost += usize::from(bytes[512] == 1);
    }
    assert!(lost > 10, "lost in {lost} of 100 seeds");
}

#[test]
fn a_full_disk_refuses_and_takes_bytes_again_once_there_is_room() {
    let (simulation, node) = one_node(1, Faults::none());
    let log = std::rc::Rc::new(run(&simulation, node, make_log()));
    simulation.set_disk_capacity(node, 64 * 1024);
    let writer = std::rc::Rc::clone(&log);
    let outcome = run(&simulation, node, async move {
        writer.write_at(4096, &[Bytes::from(vec![2; 100 * 1024])]).await
    });
    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::StorageFull);
    let space = run(&simulation, node, file::disk_space(Path::new(STORE))).unwrap();
    assert_eq!(space.available, 0);
    let other = run(&simulation, node, async move { log.allocate(1 << 20).await });
    assert_eq!(other.unwrap_err().kind(), io::ErrorKind::StorageFull);
    run(&simulation, node, file::remove(Path::new(LOG))).unwrap();
    run(&simulation, node, async {
        let log = File::open(Path::new(LOG), OpenOptions::create_new()).await.unwrap();
        log.allocate(60 * 1024).await.unwrap();
        write(&log, 0, 3, 60 * 1024).await;
    });
}

#[test]
fn allocated_space_cannot_run_out() {
    let (simulation, node) = one_node(1, Faults::none());
    let log = run(&simulation, node, async {
        let log = make_log().await;
        log.allocate(1 << 20).await.unwrap();
        log
    });
    simulation.set_disk_capacity(node, 0);
    run(&simulation, node, async move {
        write(&log, 1 << 19, 7, 1 << 19).await;
        assert_eq!(log.len().await.unwrap(), 1 << 20);
    });
}

#[test]
fn a_shortened_file_that_grows_again_holds_zeros_there() {
    for seed in 0..100 {
        let (simulation, node) = one_node(seed, Faults::power_cuts_only());
        run(&simulation, node, async {
            let log = make_log().await;
            log.set_len(100).await.unwrap();
            log.set_len(4096).await.unwrap();
            assert_eq!(log.read_at(100, 4000).await.unwrap(), vec![0; 3996]);
        });
        crash_and_restart(&simulation, node);
        let bytes = simulation.file(node, Path::new(LOG)).unwrap();
        let whole = bytes == vec![1; 4096];
        assert!(whole || bytes[100..].iter().all(|byte| *byte == 0), "seed {seed}");
    }
}

#[test]
fn an_open_file_outlives_its_name() {
    let (simulation, node) = one_node(1, Faults::none());
    run(&simulation, node, async {
        let log = make_log().await;
        file::remove(Path::new(LOG)).await.unwrap();
        assert!(!file::exists(Path::new(LOG)).await);
        assert_eq!(log.read_at(0, 4096).await.unwrap(), vec![1; 4096]);
    });
}

#[test]
fn names_behave_as_on_a_real_file_system() {
    let (simulation, node) = one_node(1, Faults::none());
    run(&simulation, node, async {
        let missing = File::open(Path::new("/nowhere/x"), OpenOptions::read_write()).await;
        assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(make_log().await);
        let twice = File::open(Path::new(LOG), OpenOptions::create_new()).await;
        assert_eq!(twice.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let reader = File::open(Path::new(LOG), OpenOptions::read_only()).await.unwrap();
        assert!(reader.write_at(0, &[Bytes::from_static(b"x")]).await.is_err());
        file::create_directory(Path::new("/store/b/c")).await.unwrap();
        file::rename(Path::new(LOG), Path::new("/store/a")).await.unwrap();
        let names = file::list(Path::new("/store/")).await.unwrap();
        assert_eq!(names, [Path::new("/store/a"), Path::new("/store/b")]);
        assert_eq!(file::read(Path::new("/store/./a")).await.unwrap(), vec![1; 4096]);
        let gone = file::remove(Path::new(LOG)).await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    });
}

#[test]
fn a_lock_is_held_once_and_free_after_the_process_has_ended() {
    let (simulation, node) = one_node(1, Faults::none());
    let path = Path::new("/store/lock");
    run(&simulation, node, async move {
        file::create_directory(Path::new(STORE)).await.unwrap();
        let held = file::lock(path).await.unwrap();
        let second = file::lock(path).await.unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        drop(held);
        let _held_for_ever = std::mem::ManuallyDrop::new(file::lock(path).await.unwrap());
    });
    simulation.kill(node);
    simulation.start(node, wait_for_stop);
    run(&simulation, node, async move {
        drop(file::lock(path).await.unwrap());
    });
}

#[test]
fn every_disk_fault_is_hit_and_counted() {
    let kinds = [
        FaultKind::MisdirectedWrite,
        FaultKind::BitRot,
        FaultKind::ReadError,
        FaultKind::WriteError,
        FaultKind::SyncError,
        FaultKind::LyingSync,
        FaultKind::DiskFull,
        FaultKind::DiskStall,
    ];
    for kind in kinds {
        let (simulation, node) = one_node(1, Faults::none());
        let log = run(&simulation, node, make_log());
        simulation.set_faults(node, Faults::none().with(kind, MILLION));
        let before = simulation.now();
        let failed = run(&simulation, node, async move {
            let written = log.write_at(0, &[Bytes::from(vec![2; 2048])]).await;
            let synced = log.sync_data().await;
            let read = log.read_at(0, 4096).await;
            written.is_err() || synced.is_err() || read.is_err()
        });
        let silent = matches!(
            kind,
            FaultKind::MisdirectedWrite | FaultKind::BitRot | FaultKind::LyingSync | FaultKind::DiskStall
        );
        assert_eq!(failed, !silent, "{kind}");
        assert_eq!(simulation.report().missing(&[kind], &[]), Vec::<String>::new());
        let stalled = simulation.now() - before >= std::time::Duration::from_secs(1);
        assert_eq!(stalled, kind == FaultKind::DiskStall, "{kind}");
    }
}

#[test]
fn a_flipped_bit_is_read_back_flipped() {
    let (simulation, node) = one_node(1, Faults::none());
    drop(run(&simulation, node, make_log()));
    simulation.flip_bit(node, Path::new(LOG), 1000, 3).unwrap();
    let bytes = run(&simulation, node, file::read(Path::new(LOG))).unwrap();
    assert_eq!(bytes[1000], 1 ^ 8);
    assert_eq!(bytes.iter().filter(|byte| **byte != 1).count(), 1);
}

/// A log of four blocks of the byte 1, synced.
async fn make_long_log() -> File {
    let log = make_log().await;
    write(&log, 0, 1, 16_384).await;
    log.sync_data().await.unwrap();
    log
}

/// Four blocks of the byte 2 over the log's.
async fn overwrite() -> io::Result<()> {
    let direct = runtime::DirectFile::open(Path::new(LOG)).await?;
    direct.write_at(0, vec![Bytes::from(vec![2; 16_384])]).await
}

#[test]
fn a_direct_write_that_has_ended_outlives_every_power_cut_without_a_sync() {
    for seed in 0..200 {
        let (simulation, node) = one_node(seed, Faults::power_cuts_only());
        run(&simulation, node, async {
            make_long_log().await;
            overwrite().await.unwrap();
            // Past the end: its length is durable too. What is only cached is not.
            let direct = runtime::DirectFile::open(Path::new(LOG)).await.unwrap();
            direct.write_at(16_384, vec![Bytes::from(vec![3; 4096])]).await.unwrap();
        });
        crash_and_restart(&simulation, node);
        let bytes = simulation.file(node, Path::new(LOG)).unwrap();
        assert_eq!(bytes, [vec![2; 16_384], vec![3; 4096]].concat(), "seed {seed}");
    }
}

#[test]
fn a_direct_write_under_way_is_torn_at_sectors_by_some_power_cuts_and_seen_half_by_some_readers() {
    let (mut torn, mut seen_half) = (0, 0);
    for seed in 0..200 {
        let (simulation, node) = one_node(seed, Faults::power_cuts_only());
        let half = run(&simulation, node, async {
            let log = make_long_log().await;
            let writing = runtime::spawn(overwrite());
            let mut bytes = Bytes::new();
            while !writing.is_finished() && !bytes.contains(&2) {
                runtime::sleep(std::time::Duration::from_micros(20)).await;
                bytes = log.read_at(0, 16_384).await.unwrap();
            }
            bytes.contains(&1) && bytes.contains(&2)
        });
        seen_half += u32::from(half);
        crash_and_restart(&simulation, node);
        let bytes = simulation.file(node, Path::new(LOG)).unwrap();
        for sector in bytes.chunks(512) {
            assert!(
                sector.iter().all(|byte| *byte == sector[0]),
                "seed {seed}: a sector is whole"
            );
        }
        torn += u32::from(bytes.contains(&1) && bytes.contains(&2));
    }
    assert!(
        torn > 20 && seen_half > 20,
        "torn in {torn}, seen half in {seen_half} of 200 seeds"
    );
}

#[test]
fn a_direct_write_fails_as_others_do_and_then_any_of_its_sectors_may_be_there() {
    for (kind, answer) in [
        (FaultKind::WriteError, None),
        (FaultKind::SyncError, None),
        (FaultKind::DiskFull, Some(io::ErrorKind::StorageFull)),
    ] {
        let mut changed = 0;
        for seed in 0..50 {
            let (simulation, node) = one_node(seed, Faults::power_cuts_only());
            run(&simulation, node, async {
                make_long_log().await;
                overwrite().await.unwrap();
            });
            simulation.set_all_faults(&Faults::power_cuts_only().with(kind, MILLION));
            let error = run(&simulation, node, async {
                let direct = runtime::DirectFile::open(Path::new(LOG)).await.unwrap();
                direct
                    .write_at(0, vec![Bytes::from(vec![3; 16_384])])
                    .await
                    .unwrap_err()
            });
            assert!(answer.is_none_or(|answer| error.kind() == answer), "{kind}: {error}");
            crash_and_restart(&simulation, node);
            let bytes = simulation.file(node, Path::new(LOG)).unwrap();
            assert!(bytes.iter().all(|byte| [2, 3].contains(byte)));
            changed += u32::from(bytes.contains(&3));
        }
        assert!(changed > 0, "{kind} leaves nothing in any of 50 seeds");
    }
}
