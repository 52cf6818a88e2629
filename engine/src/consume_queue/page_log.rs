//! The files of the consume queue page log: staging, writing, syncing and reading of pages.
//!
//! A page gets its number when it is staged, in memory; [`PageLog::write`] writes staged pages in order. Page `n` lies in the file
//! that begins with the greatest multiple of the pages a file that is not above `n`; a file is named by its first page, 20 digits.
//! What a start trusts is said by the manifest alone: pages at or beyond its durable end are void and will be written again.
//! Pages are never changed, except that [`PageLog::empty`] takes the runs out of those that a truncation empties. So every page
//! below the durable end has its head and checksum: zeros there are damage, and not a page that says nothing.

use super::page::{self, PAGE_SIZE, PageBuilder};
use super::{ConsumeQueueOptions, IndexError};
use crate::index_file::index;
use crate::page_cache::PageCache;
use bytes::Bytes;
use runtime::file::{self, File, OpenOptions};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Pages handed to one write: 1 MiB.
const WRITE_PAGES_MAX: usize = 256;
/// Pages read at once by a scan: 1 MiB.
const SCAN_PAGES: u32 = 256;
/// Files kept open for readers.
const OPEN_FILES_MAX: usize = 32;
/// Page numbers stay below this, so that sums with pages of one file do not overflow.
const PAGE_NUMBER_MAX: u32 = u32::MAX - (1 << 20);

/// One file.
#[derive(Clone, Debug)]
pub(super) struct PageFile {
    pub(super) first_page: u32,
    /// No entry in it lies at or beyond this position.
    pub(super) end_position: u64,
    /// With this file and those before it, and nothing after, only records from here on have to be fed again.
    pub(super) rebuilt_from: u64,
    /// Its directory is on disk.
    pub(super) has_directory: bool,
    /// It was made on disk.
    pub(super) created: bool,
    /// Written since the last sync.
    pub(super) dirty: bool,
}

#[derive(Debug)]
pub(super) struct PageLog {
    pub(super) directory: PathBuf,
    pub(super) shard: u8,
    pub(super) file_pages: u32,
    /// Oldest first. Neighbours need not be adjacent: a file that was thrown away leaves a gap.
    pub(super) files: RefCell<VecDeque<PageFile>>,
    /// As the manifest on disk has it.
    pub(super) rebuilt_from: Cell<u64>,
    next_page: Cell<u32>,
    staged: RefCell<VecDeque<(u32, Bytes)>>,
    cache: RefCell<PageCache>,
    open_files: RefCell<VecDeque<(u32, Rc<File>)>>,
    /// A new name in the directory is not synced yet.
    names_dirty: Cell<bool>,
    fenced: RefCell<Option<String>>,
}

/// A page that cannot be had.
#[derive(Debug)]
pub(super) enum PageError {
    Damaged { path: PathBuf, reason: String },
    Other(IndexError),
}

impl PageLog {
    pub(super) fn new(options: &ConsumeQueueOptions) -> PageLog {
        PageLog {
            directory: options.directory.clone(),
            shard: options.shard,
            file_pages: options.file_pages.clamp(1, 1 << 20),
            files: RefCell::default(),
            rebuilt_from: Cell::new(0),
            next_page: Cell::new(0),
            staged: RefCell::default(),
            cache: RefCell::new(PageCache::new(options.cache_bytes)),
            open_files: RefCell::default(),
            names_dirty: Cell::new(false),
            fenced: RefCell::default(),
        }
    }

    pub(super) fn path(&self, first_page: u32) -> PathBuf {
        self.directory.join(format!("{first_page:020}"))
    }

    pub(super) fn directory_path(&self, first_page: u32) -> PathBuf {
        self.directory.join(format!("{first_page:020}.dir"))
    }

    fn file_of(&self, page: u32) -> u32 {
        page - page % self.file_pages
    }

    pub(super) fn next_page(&self) -> u32 {
        self.next_page.get()
    }

    pub(super) fn set_next_page(&self, page: u32) {
        self.next_page.set(page);
    }

    /// The first page of the file after the one that `page` is in, or `page` if a file begins there.
    pub(super) fn next_file(&self, page: u32) -> u32 {
        page.div_ceil(self.file_pages) * self.file_pages
    }

    /// Gives a page its number. It can be read at once, and is written later.
    pub(super) fn stage(&self, builder: PageBuilder) -> u32 {
        let number = self.next_page.get();
        let first_page = self.file_of(number);
        let end_position = builder.end_position();
        let mut files = self.files.borrow_mut();
        match files.back_mut().filter(|file| file.first_page == first_page) {
            Some(file) => file.end_position = file.end_position.max(end_position),
            None => files.push_back(PageFile {
                first_page,
                end_position,
                // What the manifest vouches for is in earlier pages.
                rebuilt_from: self.rebuilt_from.get(),
                has_directory: false,
                created: false,
                dirty: false,
            }),
        }
        self.staged.borrow_mut().push_back((number, builder.finish(number)));
        self.next_page.set(number + 1);
        number
    }

    /// Whether there are numbers left for pages.
    pub(super) fn check_numbers(&self) -> Result<(), IndexError> {
        if self.next_page.get() < PAGE_NUMBER_MAX {
            return Ok(());
        }
        Err(IndexError::UsedUp {
            what: "page numbers",
            directory: self.directory.clone(),
            limit: u64::from(PAGE_NUMBER_MAX),
        })
    }

    pub(super) fn staged_bytes(&self) -> usize {
        self.staged.borrow().len() * PAGE_SIZE
    }

    pub(super) fn cache_bytes(&self) -> usize {
        self.cache.borrow().bytes()
    }

    /// An upper bound of the positions in the file of a page; 0 when the file is gone.
    pub(super) fn end_position_of(&self, page: u32) -> u64 {
        let first_page = self.file_of(page);
        let files = self.files.borrow();
        let found = files.binary_search_by_key(&first_page, |file| file.first_page);
        found
            .ok()
            .and_then(|at| files.get(at))
            .map_or(0, |file| file.end_position)
    }

    pub(super) fn fence(&self, reason: &IndexError) {
        self.fenced.borrow_mut().get_or_insert_with(|| reason.to_string());
    }

    pub(super) fn check_fence(&self) -> Result<(), IndexError> {
        match &*self.fenced.borrow() {
            None => Ok(()),
            Some(reason) => Err(IndexError::Fenced {
                directory: self.directory.clone(),
                reason: reason.clone(),
            }),
        }
    }

    /// Writes all pages staged so far. The caller sees to it that only one such call runs at a time. After an error, which
    /// no sync has covered up yet, the pages stay staged and may be written again.
    pub(super) async fn write(&self) -> Result<(), IndexError> {
        self.check_fence()?;
        let end = self.next_page.get();
        loop {
            let batch = self.staged_batch(end);
            let Some(&(first, _)) = batch.first() else {
                return Ok(());
            };
            let first_page = self.file_of(first);
            let file = self.file_for_writing(first_page).await?;
            let position = u64::from(first - first_page) * PAGE_SIZE as u64;
            let parts: Vec<Bytes> = batch.iter().map(|(_, page)| page.clone()).collect();
            self.with_file(first_page, |file| file.dirty = true);
            file.write_at(position, &parts)
                .await
                .map_err(IndexError::io("write to", file.path()))?;
            self.written(&batch);
        }
    }

    /// The staged pages below `end` that go into one file in one write.
    fn staged_batch(&self, end: u32) -> Vec<(u32, Bytes)> {
        let staged = self.staged.borrow();
        let Some(&(first, _)) = staged.front() else {
            return Vec::new();
        };
        let end = end.min(self.file_of(first) + self.file_pages);
        staged
            .iter()
            .take(WRITE_PAGES_MAX)
            .take_while(|(number, _)| *number < end)
            .cloned()
            .collect()
    }

    fn written(&self, batch: &[(u32, Bytes)]) {
        let mut staged = self.staged.borrow_mut();
        let mut cache = self.cache.borrow_mut();
        for (number, page) in batch {
            let front = staged.pop_front();
            assert_eq!(
                front.map(|(front, _)| front),
                Some(*number),
                "pages are written in order"
            );
            cache.insert(u64::from(*number), page.clone());
        }
    }

    fn with_file(&self, first_page: u32, change: impl FnOnce(&mut PageFile)) {
        let mut files = self.files.borrow_mut();
        if let Some(file) = files.iter_mut().rev().find(|file| file.first_page == first_page) {
            change(file);
        }
    }

    async fn file_for_writing(&self, first_page: u32) -> Result<Rc<File>, IndexError> {
        let created = self
            .files
            .borrow()
            .iter()
            .any(|file| file.first_page == first_page && file.created);
        let file = self.open_file(first_page).await?;
        if !created {
            let size = u64::from(self.file_pages) * PAGE_SIZE as u64;
            file.allocate(size)
                .await
                .map_err(IndexError::io("reserve space for", file.path()))?;
            self.names_dirty.set(true);
            self.with_file(first_page, |file| file.created = true);
        }
        Ok(file)
    }

    async fn open_file(&self, first_page: u32) -> Result<Rc<File>, IndexError> {
        if let Some(file) = self.already_open(first_page) {
            return Ok(file);
        }
        let path = self.path(first_page);
        let file = File::open(&path, OpenOptions::read_write())
            .await
            .map_err(IndexError::io("open", &path))?;
        if let Some(file) = self.already_open(first_page) {
            return Ok(file);
        }
        let file = Rc::new(file);
        let mut open_files = self.open_files.borrow_mut();
        open_files.push_back((first_page, Rc::clone(&file)));
        if open_files.len() > OPEN_FILES_MAX {
            open_files.pop_front();
        }
        Ok(file)
    }

    fn already_open(&self, first_page: u32) -> Option<Rc<File>> {
        let mut open_files = self.open_files.borrow_mut();
        let at = open_files.iter().position(|(first, _)| *first == first_page)?;
        let entry = open_files.remove(at)?;
        let file = Rc::clone(&entry.1);
        open_files.push_back(entry);
        Some(file)
    }

    /// Makes durable what was written. A failure fences the log: which pages are on disk is unknown from then on.
    pub(super) async fn sync(&self) -> Result<(), IndexError> {
        self.check_fence()?;
        let dirty: Vec<u32> = {
            let files = self.files.borrow();
            files
                .iter()
                .filter(|file| file.dirty)
                .map(|file| file.first_page)
                .collect()
        };
        for first_page in dirty {
            let file = self.open_file(first_page).await?;
            self.fencing(file.sync_data().await.map_err(IndexError::io("sync", file.path())))?;
            self.with_file(first_page, |file| file.dirty = false);
        }
        if self.names_dirty.get() {
            self.sync_names().await?;
            self.names_dirty.set(false);
        }
        Ok(())
    }

    async fn sync_names(&self) -> Result<(), IndexError> {
        let synced = file::sync_directory(&self.directory).await;
        self.fencing(synced.map_err(IndexError::io("sync", &self.directory)))
    }

    fn fencing(&self, outcome: Result<(), IndexError>) -> Result<(), IndexError> {
        if let Err(error) = &outcome {
            self.fence(error);
        }
        outcome
    }

    /// A page, if reading it needs no disk.
    pub(super) fn page_in_memory(&self, number: u32) -> Option<Bytes> {
        let staged = self.staged.borrow();
        if let Some((first, _)) = staged.front().filter(|(first, _)| *first <= number) {
            // Staged numbers are consecutive, except where a file boundary was skipped: then look further on.
            let guess = staged.get(index(number - first)).filter(|(found, _)| *found == number);
            let found = guess.or_else(|| staged.iter().find(|(found, _)| *found == number));
            if let Some((_, page)) = found {
                return Some(page.clone());
            }
        }
        self.cache.borrow_mut().get(u64::from(number))
    }

    /// A checked page.
    pub(super) async fn page(&self, number: u32) -> Result<Bytes, PageError> {
        if let Some(page) = self.page_in_memory(number) {
            return Ok(page);
        }
        let page = self.read_pages(number, 1).await?;
        let page = self.checked(page, number)?;
        self.cache.borrow_mut().insert(u64::from(number), page.clone());
        Ok(page)
    }

    fn checked(&self, page: Bytes, number: u32) -> Result<Bytes, PageError> {
        match page::check(&page, number, self.shard) {
            Ok(()) => Ok(page),
            Err(reason) => Err(PageError::Damaged {
                path: self.path(self.file_of(number)),
                reason: format!("page {number} is damaged: {reason}"),
            }),
        }
    }

    async fn read_pages(&self, first: u32, count: u32) -> Result<Bytes, PageError> {
        let first_page = self.file_of(first);
        let path = self.path(first_page);
        if !self.files.borrow().iter().any(|file| file.first_page == first_page) || !file::exists(&path).await {
            let reason = "the file is gone".to_owned();
            return Err(PageError::Damaged { path, reason });
        }
        let file = self.open_file(first_page).await.map_err(PageError::Other)?;
        let position = u64::from(first - first_page) * PAGE_SIZE as u64;
        file.read_at(position, index(count) * PAGE_SIZE)
            .await
            .map_err(|error| PageError::Damaged {
                reason: format!("page {first} cannot be read: {error}"),
                path,
            })
    }

    /// Visits the pages of one file below `end`, checked, in order.
    pub(super) async fn scan(
        &self,
        first_page: u32,
        end: u32,
        mut visit: impl FnMut(u32, Result<&[u8], PageError>),
    ) -> Result<(), IndexError> {
        let end = end.min(first_page + self.file_pages);
        let mut next = first_page;
        while next < end {
            let count = SCAN_PAGES.min(end - next);
            let chunk = match self.read_pages(next, count).await {
                Err(PageError::Other(error)) => return Err(error),
                Err(PageError::Damaged { .. }) => Bytes::new(),
                Ok(chunk) => chunk,
            };
            for (number, at) in (next..next + count).zip((0_usize..).step_by(PAGE_SIZE)) {
                let end = (at + PAGE_SIZE).min(chunk.len());
                let page = self.checked(chunk.slice(at.min(end)..end), number);
                match page {
                    Ok(page) => visit(number, Ok(&page)),
                    Err(error) => visit(number, Err(error)),
                }
            }
            next += count;
            runtime::yield_now().await;
        }
        Ok(())
    }

    /// Replaces pages by such that hold nothing, and syncs them.
    pub(super) async fn empty(&self, pages: &[u32]) -> Result<(), IndexError> {
        for &number in pages {
            let first_page = self.file_of(number);
            let file = self.file_for_writing(first_page).await?;
            self.with_file(first_page, |file| file.dirty = true);
            file.write_at(
                u64::from(number - first_page) * PAGE_SIZE as u64,
                &[PageBuilder::new(self.shard).finish(number)],
            )
            .await
            .map_err(IndexError::io("write to", file.path()))?;
        }
        let gone: std::collections::BTreeSet<u64> = pages.iter().map(|&number| u64::from(number)).collect();
        self.cache.borrow_mut().remove_where(|key| gone.contains(&key));
        self.sync().await
    }

    /// Deletes a file with its directory. Nothing may point into it any more.
    pub(super) async fn remove(&self, first_page: u32) -> Result<(), IndexError> {
        self.files.borrow_mut().retain(|file| file.first_page != first_page);
        self.open_files.borrow_mut().retain(|(first, _)| *first != first_page);
        let pages = u64::from(first_page)..u64::from(first_page) + u64::from(self.file_pages);
        self.cache.borrow_mut().remove_where(|key| pages.contains(&key));
        remove_if_there(&self.path(first_page)).await?;
        remove_if_there(&self.directory_path(first_page)).await
    }
}

pub(super) async fn remove_if_there(path: &Path) -> Result<(), IndexError> {
    match file::remove(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(IndexError::io("delete", path)(error)),
        _ => Ok(()),
    }
}
