//! Ways to get bytes of a file in the page cache into a socket. The receiver throws them away, always in the same manner.

use crate::copies::{open, report, sendfile, transfer};
use crate::cpu_seconds;
use io_uring::{IoUring, cqueue, opcode, types};
use rustix::pipe::{SpliceFlags, pipe, splice};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Instant;

/// As large as the parts that replication sends.
const PIECE: usize = 256 << 10;

pub(crate) fn all(round: u32, segments: &[(PathBuf, u64)]) {
    let files: Vec<(File, u64)> = segments.iter().map(|(path, size)| (open(path), *size)).collect();
    let total: u64 = files.iter().map(|(_, size)| size).sum();
    let measure = |what: &str, send: &(dyn Fn(&TcpStream) + Sync)| {
        let (before, begin) = (cpu_seconds(std::process::id()), Instant::now());
        transfer(send, discard);
        report(round, what, total, begin, before);
    };
    measure("way: read and send", &|stream| {
        let mut buffer = vec![0; PIECE];
        pieces(&files, |file, offset, size| {
            file.read_exact_at(&mut buffer[..size], offset)
                .expect("the file can be read");
            let mut stream = stream;
            stream.write_all(&buffer[..size]).expect("the receiver reads");
        });
    });
    measure("way: send from memory", &|stream| {
        let buffer = vec![1; PIECE];
        pieces(&files, |_file, _offset, size| {
            let mut stream = stream;
            stream.write_all(&buffer[..size]).expect("the receiver reads");
        });
    });
    measure("way: sendfile", &|stream| {
        files.iter().for_each(|(file, size)| sendfile(file, *size, stream));
    });
    measure("way: splice", &|stream| {
        let (out, into) = pipe().expect("a pipe can be made");
        rustix::pipe::fcntl_setpipe_size(&into, PIECE).expect("a pipe may have 256 KiB");
        pieces(&files, |file, offset, size| {
            let mut offset = offset;
            let mut left = size;
            while left > 0 {
                let flags = SpliceFlags::MOVE | SpliceFlags::MORE;
                let moved = splice(file, Some(&mut offset), &into, None, left, flags).expect("splice from a file");
                let mut in_pipe = moved;
                while in_pipe > 0 {
                    in_pipe -= splice(&out, None, stream, None, in_pipe, flags).expect("splice to a socket");
                }
                left -= moved;
            }
        });
    });
    measure("way: read and SEND_ZC", &|stream| {
        let mut zero_copy = ZeroCopy::new(stream);
        pieces(&files, |file, offset, size| zero_copy.send(file, offset, size));
        zero_copy.finish();
    });
}

fn discard(mut stream: TcpStream) {
    let mut buffer = vec![0; 1 << 20];
    while stream.read(&mut buffer).expect("the sender goes on") > 0 {}
}

fn pieces(files: &[(File, u64)], mut with: impl FnMut(&File, u64, usize)) {
    for (file, end) in files {
        let mut offset = 0;
        while offset < *end {
            let size = usize::try_from(end - offset).map_or(PIECE, |rest| rest.min(PIECE));
            with(file, offset, size);
            offset += size as u64;
        }
    }
}

/// IORING_OP_SEND_ZC: one send under way, and four buffers, since the kernel gives each back later.
struct ZeroCopy<'a> {
    stream: &'a TcpStream,
    ring: IoUring,
    buffers: [Vec<u8>; 4],
    /// Notifications that are to come, by buffer.
    held: [bool; 4],
    next: usize,
}

impl<'a> ZeroCopy<'a> {
    fn new(stream: &'a TcpStream) -> ZeroCopy<'a> {
        ZeroCopy {
            stream,
            ring: IoUring::new(16).expect("io_uring is there"),
            buffers: std::array::from_fn(|_| vec![0; PIECE]),
            held: [false; 4],
            next: 0,
        }
    }

    fn send(&mut self, file: &File, offset: u64, size: usize) {
        let number = self.next;
        self.next = (number + 1) % self.buffers.len();
        while self.held[number] {
            self.wait(None);
        }
        file.read_exact_at(&mut self.buffers[number][..size], offset)
            .expect("the file can be read");
        let mut done = 0;
        while done < size {
            let rest = &self.buffers[number][done..size];
            let length = u32::try_from(rest.len()).expect("a piece is small");
            let entry = opcode::SendZc::new(types::Fd(self.stream.as_raw_fd()), rest.as_ptr(), length)
                .build()
                .user_data(number as u64);
            // SAFETY: the buffer lives as long as the ring, and is not written to again before the notification that the kernel is done with
            // it (`held`); `finish` waits for all of them.
            #[expect(unsafe_code, reason = "an entry of the ring names memory")]
            unsafe {
                self.ring
                    .submission()
                    .push(&entry)
                    .expect("there is space for one entry");
            }
            self.held[number] = true;
            done += self.wait(Some(number));
            while done < size && self.held[number] {
                self.wait(None);
            }
        }
    }

    /// Waits for something to complete; with a buffer's number, until its send has, and returns the bytes sent.
    fn wait(&mut self, number: Option<usize>) -> usize {
        loop {
            self.ring.submit_and_wait(1).expect("the ring works");
            let mut sent = None;
            while let Some(entry) = self.ring.completion().next() {
                let of = usize::try_from(entry.user_data()).expect("a buffer's number");
                if cqueue::notif(entry.flags()) {
                    self.held[of] = false;
                    continue;
                }
                let count = usize::try_from(entry.result()).unwrap_or_else(|_| panic!("SEND_ZC: {}", entry.result()));
                self.held[of] = cqueue::more(entry.flags());
                if number == Some(of) {
                    sent = Some(count);
                }
            }
            match (number, sent) {
                (None, _) => return 0,
                (Some(_), Some(count)) => return count,
                (Some(_), None) => {}
            }
        }
    }

    fn finish(&mut self) {
        while self.held.contains(&true) {
            self.wait(None);
        }
    }
}
