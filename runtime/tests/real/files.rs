//! Files on the real kernel.

use crate::in_each_way;
use bytes::Bytes;
use runtime::file::{self, File, OpenOptions};
use runtime::probe::IoPath;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::task::Poll;

async fn new_file(directory: &Path) -> File {
    File::open(&directory.join("data"), OpenOptions::create_new())
        .await
        .unwrap()
}

#[test]
fn bytes_are_read_back_and_end_with_the_file() {
    in_each_way(|directory| async move {
        let file = new_file(&directory).await;
        file.write_at(0, &[Bytes::from_static(b"hello "), Bytes::from_static(b"world")])
            .await
            .unwrap();
        assert_eq!(file.read_at(0, 11).await.unwrap(), "hello world");
        assert_eq!(file.read_at(6, 100).await.unwrap(), "world");
        assert_eq!(file.read_at(11, 10).await.unwrap(), "");
        assert_eq!(file.read_at(1000, 10).await.unwrap(), "");
        assert_eq!(file.len().await.unwrap(), 11);
        file.sync_data().await.unwrap();
    });
}

#[test]
fn bytes_that_the_page_cache_lacks_come_from_the_disk() {
    in_each_way(|directory| async move {
        let file = new_file(&directory).await;
        let bytes: Vec<u8> = (0..1_000_000_u32)
            .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
            .collect();
        file.write_at(0, &[Bytes::from(bytes.clone())]).await.unwrap();
        file.sync_data().await.unwrap();
        let cached = std::fs::File::open(directory.join("data")).unwrap();
        rustix::fs::fadvise(&cached, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let read = file.read_at(0, 2_000_000).await.unwrap();
        assert!(
            read == bytes,
            "{} bytes differ from the {} written",
            read.len(),
            bytes.len()
        );
    });
}

#[test]
fn positions_past_4_gib_are_themselves() {
    in_each_way(|directory| async move {
        let file = new_file(&directory).await;
        let far = (1 << 32) + 12_345;
        file.write_at(far, &[Bytes::from_static(b"far")]).await.unwrap();
        file.write_at(12_345, &[Bytes::from_static(b"near")]).await.unwrap();
        assert_eq!(file.read_at(far, 10).await.unwrap(), "far");
        assert_eq!(file.len().await.unwrap(), far + 3);
        file.sync_data().await.unwrap();
    });
}

#[test]
fn more_parts_than_one_call_takes_are_written_in_order() {
    in_each_way(|directory| async move {
        let file = new_file(&directory).await;
        let parts: Vec<Bytes> = (0..3000_u32).map(|n| Bytes::from(format!("{n},"))).collect();
        let mut with_empty = vec![Bytes::new()];
        with_empty.extend(parts.iter().cloned());
        with_empty.insert(1500, Bytes::new());
        file.write_at(7, &with_empty).await.unwrap();
        let whole = parts.concat();
        assert_eq!(file.read_at(7, whole.len() + 1).await.unwrap(), whole);
    });
}

#[test]
fn nothing_to_write_is_written_at_once() {
    in_each_way(|directory| async move {
        let file = new_file(&directory).await;
        file.write_at(5, &[]).await.unwrap();
        file.write_at(5, &[Bytes::new()]).await.unwrap();
        file.write_off_core(5, vec![Bytes::new()]).await.unwrap();
        file.write_off_core(5, Vec::new()).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 0);
    });
}

#[test]
fn a_write_off_the_core_is_a_write_in_one_part_or_many() {
    in_each_way(|directory| async move {
        for parts in [1, 3] {
            let file = new_file(&directory).await;
            let all = vec![Bytes::from(vec![7; 300_000]); parts];
            file.write_off_core(3, all).await.unwrap();
            let read = file.read_at(0, 300_000 * parts + 100).await.unwrap();
            assert_eq!(read.len(), 300_000 * parts + 3);
            assert!(read[..3] == [0; 3] && read[3..].iter().all(|byte| *byte == 7));
            drop(file);
            file::remove(&directory.join("data")).await.unwrap();
        }
    });
}

#[test]
fn a_write_of_the_ring_that_is_dropped_has_landed() {
    if !crate::paths().contains(&IoPath::Ring) {
        return println!("SKIPPED: there is no ring");
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().to_owned();
    let work = async move {
        let file = new_file(&directory).await;
        for round in 0..20_u8 {
            let bytes = Bytes::from(vec![round; 4 << 20]);
            let mut writing = Box::pin(file.write_off_core(0, vec![bytes]));
            let begun = std::future::poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx).is_pending())).await;
            drop(writing);
            let there = std::fs::read(directory.join("data")).unwrap();
            assert!(
                there.iter().all(|byte| *byte == round),
                "round {round}, under way: {begun}"
            );
        }
        assert_eq!(file.len().await.unwrap(), 4 << 20);
    };
    runtime::core::run_here(&IoPath::Ring, work).unwrap();
}

#[test]
fn dropping_reads_under_way_harms_nobody() {
    in_each_way(|directory| async move {
        let file = Rc::new(new_file(&directory).await);
        file.write_at(0, &[Bytes::from(vec![9; 1 << 20])]).await.unwrap();
        file.sync_data().await.unwrap();
        let cached = std::fs::File::open(directory.join("data")).unwrap();
        for round in 0..50 {
            rustix::fs::fadvise(&cached, 0, None, rustix::fs::Advice::DontNeed).unwrap();
            let reads: Vec<_> = (0..8)
                .map(|part| {
                    let file = Rc::clone(&file);
                    runtime::spawn(async move { file.read_at(part << 17, 1 << 17).await })
                })
                .collect();
            for _ in 0..round % 4 {
                runtime::yield_now().await;
            }
            for read in &reads {
                read.abort();
            }
            drop(reads);
            // Were a buffer freed under the kernel, the rubbish would land in vectors like these.
            let others: Vec<Vec<u8>> = (0..8).map(|_| vec![0; 1 << 17]).collect();
            runtime::sleep(std::time::Duration::from_millis(1)).await;
            assert!(others.iter().flatten().all(|byte| *byte == 0));
        }
        assert_eq!(file.read_at(1 << 19, 10).await.unwrap(), vec![9; 10]);
    });
}

#[test]
fn a_loop_may_end_with_reads_and_syncs_under_way() {
    for _ in 0..20 {
        in_each_way(|directory| async move {
            let file = Rc::new(new_file(&directory).await);
            file.write_at(0, &[Bytes::from(vec![9; 1 << 20])]).await.unwrap();
            for part in 0..4 {
                let file = Rc::clone(&file);
                let _runs_on = runtime::spawn(async move {
                    file.sync_data().await.unwrap();
                    file.read_at(part << 17, 1 << 17).await
                });
            }
            runtime::yield_now().await;
        });
    }
}

#[test]
fn allocating_and_setting_the_length_do_what_they_say() {
    in_each_way(|directory| async move {
        let file = new_file(&directory).await;
        file.allocate(1 << 20).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 1 << 20);
        assert_eq!(file.read_at((1 << 20) - 4, 10).await.unwrap(), vec![0; 4]);
        file.write_at(0, &[Bytes::from_static(b"kept")]).await.unwrap();
        file.start_writeback(0, 4096).await.unwrap();
        file.set_len(4).await.unwrap();
        assert_eq!(file.read_at(0, 100).await.unwrap(), "kept");
    });
}

#[test]
fn opening_follows_its_options() {
    in_each_way(|directory| async move {
        let path = directory.join("data");
        let missing = File::open(&path, OpenOptions::read_only()).await.unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        drop(new_file(&directory).await);
        let twice = File::open(&path, OpenOptions::create_new()).await.unwrap_err();
        assert_eq!(twice.kind(), io::ErrorKind::AlreadyExists);
        let reader = File::open(&path, OpenOptions::read_only()).await.unwrap();
        assert!(reader.write_at(0, &[Bytes::from_static(b"x")]).await.is_err());
        assert_eq!(reader.path(), path);
    });
}

#[test]
fn a_lock_is_held_once() {
    in_each_way(|directory| async move {
        let path = directory.join("lock");
        let held = file::lock(&path).await.unwrap();
        assert_eq!(file::lock(&path).await.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        drop(file::lock(&path).await.unwrap());
    });
}

#[test]
fn a_replacement_that_nobody_waits_for_ends_before_the_next_of_the_name_begins() {
    in_each_way(|directory| async move {
        let path = directory.join("name");
        for round in 0..30_u8 {
            for _dropped in 0..3 {
                let mut dropped = std::pin::pin!(file::replace(&path, vec![255; 1 << 18]));
                let _started = runtime::sync::race(&mut dropped, runtime::yield_now()).await;
            }
            file::replace(&path, vec![round; 9]).await.unwrap();
            assert_eq!(file::read(&path).await.unwrap(), [round; 9]);
        }
    });
}

#[test]
fn small_files_are_replaced_listed_renamed_and_removed() {
    in_each_way(|directory| async move {
        let deep = directory.join("a/b");
        file::create_directory(&deep).await.unwrap();
        file::create_directory(&deep).await.unwrap();
        let path = deep.join("config");
        file::replace(&path, b"old and long".to_vec()).await.unwrap();
        file::replace(&path, b"new".to_vec()).await.unwrap();
        assert_eq!(file::read(&path).await.unwrap(), b"new");
        assert_eq!(file::list(&deep).await.unwrap(), std::slice::from_ref(&path));
        let other = deep.join("other");
        file::rename(&path, &other).await.unwrap();
        file::sync_directory(&deep).await.unwrap();
        assert!(file::exists(&other).await && !file::exists(&path).await);
        file::remove(&other).await.unwrap();
        assert_eq!(file::list(&deep).await.unwrap(), Vec::<PathBuf>::new());
    });
}

#[test]
fn disk_space_counts_what_is_used() {
    in_each_way(|directory| async move {
        let space = file::disk_space(&directory).await.unwrap();
        assert!(space.total > 0 && space.available <= space.total);
        assert!((0.0..=1.0).contains(&space.used_ratio()));
    });
}

/// A small file system in memory, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// None, said aloud, where this process may not mount.
    fn mount() -> Option<SmallDisk> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(directory.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(SmallDisk(directory)),
            Ok(output) => {
                println!(
                    "SKIPPED: no tmpfs can be mounted: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
                None
            }
            Err(error) => {
                println!("SKIPPED: mount cannot be run: {error}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _status = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_storage_full_and_takes_bytes_again_once_there_is_room() {
    for path in crate::paths() {
        let Some(disk) = SmallDisk::mount() else { return };
        let directory = disk.0.path().to_owned();
        runtime::core::run_here(&path, async move {
            let file = new_file(&directory).await;
            let full = file.write_at(0, &[Bytes::from(vec![1; 2 << 20])]).await.unwrap_err();
            assert_eq!(full.kind(), io::ErrorKind::StorageFull);
            let full = file.allocate(4 << 20).await.unwrap_err();
            assert_eq!(full.kind(), io::ErrorKind::StorageFull);
            assert!(file::disk_space(&directory).await.unwrap().used_ratio() > 0.99);
            file.set_len(0).await.unwrap();
            file.write_at(0, &[Bytes::from(vec![2; 1 << 19])]).await.unwrap();
            assert_eq!(file.read_at(0, 2).await.unwrap(), vec![2; 2]);
        })
        .unwrap();
    }
}

#[test]
fn direct_writes_are_whole_blocks_of_any_parts_and_read_back_from_any_position() {
    in_each_way(|directory| async move {
        if let Some(refusal) = runtime::direct_refusal(&directory).await.unwrap() {
            println!("SKIPPED: {refusal}");
            return;
        }
        let path = directory.join("direct");
        let file = File::open(&path, OpenOptions::create_new()).await.unwrap();
        file.allocate(8 << 20).await.unwrap();
        let direct = runtime::DirectFile::open(&path).await.unwrap();
        // More than one write of the flusher thread, and parts that fit no block.
        let size = 3 * (1 << 20) + runtime::BLOCK_SIZE;
        let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let parts: Vec<Bytes> = bytes.chunks(70_001).map(Bytes::copy_from_slice).collect();
        direct.write_at(4096, parts).await.unwrap();
        for (position, wanted) in [(4096, size), (4097, 5), (8191, 2), (5_000, 1_000_000)] {
            let read = direct.read_at(position, wanted).await.unwrap();
            let from = usize::try_from(position).unwrap() - 4096;
            assert_eq!(read, bytes[from..from + wanted], "{wanted} at {position}");
            let through_cache = file.read_at(position, wanted).await.unwrap();
            assert_eq!(through_cache, read, "the page cache says the same");
        }
        assert_eq!(
            direct.read_at((8 << 20) - 2, 100).await.unwrap().len(),
            2,
            "the file ends there"
        );
        for (position, size) in [(1, 4096), (4096, 100)] {
            let refused = direct.write_at(position, vec![Bytes::from(vec![0; size])]).await;
            assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        }
        let missing = runtime::DirectFile::open(&directory.join("missing")).await;
        assert_eq!(missing.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    });
}

#[test]
fn the_loop_goes_on_while_direct_writes_are_made_and_each_ends() {
    in_each_way(|directory| async move {
        if let Some(refusal) = runtime::direct_refusal(&directory).await.unwrap() {
            println!("SKIPPED: {refusal}");
            return;
        }
        let path = directory.join("direct");
        File::open(&path, OpenOptions::create_new())
            .await
            .unwrap()
            .allocate(1 << 20)
            .await
            .unwrap();
        let direct = runtime::DirectFile::open(&path).await.unwrap();
        let writing = runtime::spawn(async move {
            for number in 0..50_u8 {
                let block = Bytes::from(vec![number; 4096]);
                direct.write_at(u64::from(number) * 4096, vec![block]).await.unwrap();
            }
        });
        let mut turns = 0_u64;
        while !writing.is_finished() {
            turns += 1;
            runtime::yield_now().await;
        }
        assert!(turns > 50, "{turns} turns beside 50 writes");
        let bytes = std::fs::read(&path).unwrap();
        assert!(
            bytes
                .chunks(4096)
                .take(50)
                .enumerate()
                .all(|(number, block)| block.iter().all(|byte| usize::from(*byte) == number))
        );
    });
}

#[test]
fn a_file_system_without_direct_writes_is_refused_by_name_and_with_a_fix() {
    let memory = std::path::Path::new("/dev/shm");
    if !memory.is_dir() {
        println!("SKIPPED: there is no /dev/shm");
        return;
    }
    runtime::core::run_here(&runtime::probe::probe(), async {
        let directory = tempfile::tempdir_in(memory).unwrap();
        let refusal = runtime::direct_refusal(directory.path()).await.unwrap().unwrap();
        assert_eq!(refusal, runtime::DirectRefusal::FileSystem(directory.path().to_owned()));
        let text = refusal.to_string();
        assert!(text.contains("fix: ") && text.contains("/dev/shm"), "{text}");
        let path = directory.path().join("file");
        std::fs::write(&path, [0; 4096]).unwrap();
        let error = runtime::DirectFile::open(&path).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (std::io::ErrorKind::Unsupported, text)
        );
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            1,
            "nothing is left of the trial"
        );
    })
    .unwrap();
}
