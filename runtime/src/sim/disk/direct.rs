//! Direct writes (`O_DIRECT|O_DSYNC`) on a simulated disk.
//!
//! While one is under way, some of its sectors can be seen and others not, and a power cut leaves any of them; when it has
//! ended well, all are durable, with what was pending of the same sectors before and with the file's length. It does not
//! make other bytes of the file durable.

use super::{Disk, Pending, PendingKind, SECTOR, disk_error};
use crate::sim::NodeId;
use crate::sim::fault::FaultKind;
use crate::sim::world::World;
use bytes::Bytes;
use std::io;

impl Disk {
    /// Begins a write of whole sectors; its number goes to [`Disk::direct_ends`].
    pub(crate) fn direct_begins(&mut self, world: &World, inode: u64, position: u64, bytes: &[u8]) -> io::Result<u64> {
        if self.room_for(inode, position, bytes.len())? < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // What the page cache holds of these sectors is written first, as the kernel does.
        self.write_back(inode, position, bytes.len(), self.changes)?;
        self.changes += 1;
        let change = self.changes;
        let file = self.inode(inode)?;
        file.unreserved_pages += file.new_pages(position, bytes.len()).count() as u64;
        let end = position + bytes.len() as u64;
        if end > file.cached.length {
            file.cached.length = end;
            file.pending.push(Pending {
                change,
                kind: PendingKind::Length(end),
            });
        }
        if bytes.len() as u64 > SECTOR {
            file.cached.write_torn(world, position, bytes);
        }
        file.pending.push(Pending {
            change,
            kind: PendingKind::Write(position, Bytes::copy_from_slice(bytes)),
        });
        Ok(change)
    }

    /// Ends the write: well, or with EIO after some of its sectors.
    pub(crate) fn direct_ends(
        &mut self,
        world: &World,
        node: NodeId,
        (inode, change): (u64, u64),
        position: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        if world.roll(node, FaultKind::WriteError) || world.roll(node, FaultKind::SyncError) {
            // The disk may have written any of it, and will write no more.
            let file = self.inode(inode)?;
            file.durable.write_torn(world, position, bytes);
            file.pending
                .retain(|pending| pending.change != change || matches!(pending.kind, PendingKind::Length(_)));
            return Err(disk_error());
        }
        self.inode(inode)?.cached.write(position, bytes);
        if world.allows(node, FaultKind::LyingSync) {
            world.count_fault(FaultKind::LyingSync);
            return Ok(());
        }
        self.write_back(inode, position, bytes.len(), change)
    }

    /// Makes the pending changes up to `up_to` durable that concern these sectors or the file's length.
    fn write_back(&mut self, inode: u64, position: u64, size: usize, up_to: u64) -> io::Result<()> {
        let end = position + size as u64;
        let file = self.inode(inode)?;
        let concerned = |pending: &Pending| {
            pending.change <= up_to
                && match &pending.kind {
                    PendingKind::Length(_) => true,
                    PendingKind::Write(first, bytes) => *first < end && first + bytes.len() as u64 > position,
                }
        };
        let (now, later) = std::mem::take(&mut file.pending).into_iter().partition(concerned);
        file.pending = later;
        for pending in now {
            file.apply(&pending.kind);
        }
        Ok(())
    }
}
