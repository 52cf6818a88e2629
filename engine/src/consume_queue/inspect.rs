//! Consume queue formats for tools that read; see [`crate::inspect`].

use super::Entry;
use super::directory::{self, Directory};
use super::page::{self, Content};

pub(crate) const PAGE_SIZE: usize = page::PAGE_SIZE;

/// What a consume queue's manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The shard.
    pub shard: u8,
    /// Pages of a file.
    pub file_pages: u32,
    /// Pages from this number on are void.
    pub durable_end: u32,
    /// All records below this position of the log have their entries in durable pages.
    pub rebuilt_from: u64,
    /// First page of each file that counts.
    pub files: Vec<u32>,
}

impl Manifest {
    /// Its name in the directory of the consume queues.
    pub const NAME: &'static str = directory::MANIFEST_NAME;

    /// From the file's bytes; else what is wrong with it.
    ///
    /// # Errors
    /// Too short, of another kind or version, its checksum does not match, or a size in it cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, &'static str> {
        let found = directory::Manifest::decode(bytes)?;
        if !(1..=1 << 20).contains(&found.file_pages) {
            return Err("its files have an impossible size");
        }
        Ok(Manifest {
            shard: found.shard,
            file_pages: found.file_pages,
            durable_end: found.durable_end,
            rebuilt_from: found.rebuilt_from,
            files: found.files,
        })
    }
}

/// Checks the directory of a file of pages, `NNN.dir`, and gives the number of its runs.
///
/// # Errors
/// What is wrong with it.
pub fn decode_directory(bytes: &[u8], shard: u8, first_page: u32) -> Result<usize, &'static str> {
    Directory::decode(bytes, shard, first_page).map(|directory| directory.runs.len())
}

/// A page that is as it was written.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a>(&'a [u8]);

impl<'a> Page<'a> {
    /// Checks page `number` of a shard.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(page: &'a [u8], number: u32, shard: u8) -> Result<Page<'a>, &'static str> {
        page::check(page, number, shard)?;
        Ok(Page(page))
    }

    /// What it holds.
    pub fn runs(self) -> impl Iterator<Item = PageRun<'a>> {
        page::runs(self.0).map(|run| PageRun {
            topic: run.topic,
            queue_id: run.queue_id,
            queue_offset: run.queue_offset,
            content: match run.content {
                Content::Entries(entries) => RunContent::Entries(entries.iter().collect()),
                Content::Floor { position } => RunContent::Floor { position },
                Content::Deleted { position } => RunContent::Deleted { position },
            },
        })
    }
}

/// What a page says of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRun<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The queue in it; 0 where the whole topic was deleted.
    pub queue_id: u32,
    /// Queue offset of the first entry, or the least next one.
    pub queue_offset: i64,
    /// The rest.
    pub content: RunContent,
}

/// What a run says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunContent {
    /// Consecutive entries, at most as many as fit in a page.
    Entries(Vec<Entry>),
    /// The queue's next offset is at least the run's.
    Floor {
        /// As of this position of the log.
        position: u64,
    },
    /// The topic was deleted: what earlier pages say of it is void.
    Deleted {
        /// As of this position of the log.
        position: u64,
    },
}
