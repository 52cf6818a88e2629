//! The slaves of a master, and where each serves its log: kept in `slaves.json` of the store, since a master that lost power must find
//! them before anybody else tells it of them.

use runtime::file;
use runtime::sync::Semaphore;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// By brokerId.
type Addresses = BTreeMap<u32, SocketAddr>;

/// What a master keeps of its slaves. On core 0.
#[derive(Debug)]
pub struct KnownSlaves {
    path: PathBuf,
    /// As the file says; `None` until it was read.
    kept: RefCell<Option<Addresses>>,
    /// One change at a time.
    turn: Semaphore,
}

impl KnownSlaves {
    /// Those of the store in this directory.
    #[must_use]
    pub fn new(store: &Path) -> KnownSlaves {
        KnownSlaves {
            path: path(store),
            kept: RefCell::default(),
            turn: Semaphore::new(1),
        }
    }

    /// Keeps where a slave serves its log. It is durable when this returns.
    ///
    /// # Errors
    /// The file system's; it is tried again when the slave connects again.
    pub async fn note(&self, broker_id: u32, address: SocketAddr) -> io::Result<()> {
        let _turn = self.turn.acquire().await;
        let read = self.kept.borrow().clone();
        let mut all = match read {
            Some(all) => all,
            None => read_file(&self.path).await,
        };
        if all.insert(broker_id, address) == Some(address) {
            *self.kept.borrow_mut() = Some(all);
            return Ok(());
        }
        let text = serde_json::to_vec(&all).map_err(io::Error::other)?;
        file::replace(&self.path, text).await?;
        *self.kept.borrow_mut() = Some(all);
        Ok(())
    }
}

fn path(store: &Path) -> PathBuf {
    store.join("slaves.json")
}

/// The slaves of the master whose store is in this directory.
pub(super) async fn of_store(store: &Path) -> (Addresses, PathBuf) {
    let path = path(store);
    (read_file(&path).await, path)
}

/// None, if the file is not there or damaged: the slaves are noted again when they connect.
async fn read_file(path: &Path) -> Addresses {
    let bytes = match file::read(path).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Addresses::new(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot be read");
            return Addresses::new();
        }
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "is damaged and not used");
        Addresses::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::sim::{Options, Simulation};
    use std::net::IpAddr;
    use std::time::Duration;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn slaves_are_kept_by_their_id_and_a_damaged_file_is_written_anew() {
        let simulation = Simulation::new(1, Options::default());
        let node = simulation.node("master", IpAddr::from([10, 0, 0, 1]));
        simulation.start(node, std::future::pending::<()>);
        let work = async {
            let store = Path::new("/store");
            file::create_directory(store).await.unwrap();
            let known = KnownSlaves::new(store);
            known.note(1, address("10.0.0.2:10912")).await.unwrap();
            known.note(2, address("10.0.0.3:10912")).await.unwrap();
            known.note(1, address("10.0.0.4:20912")).await.unwrap();
            let kept = Addresses::from([(1, address("10.0.0.4:20912")), (2, address("10.0.0.3:10912"))]);
            assert_eq!(of_store(store).await.0, kept);
            let again = KnownSlaves::new(store);
            again.note(3, address("[::1]:9")).await.unwrap();
            assert_eq!(of_store(store).await.0.len(), 3);
            file::replace(&path(store), b"{\"1\":".to_vec()).await.unwrap();
            assert!(of_store(store).await.0.is_empty());
            KnownSlaves::new(store)
                .note(2, address("10.0.0.3:10912"))
                .await
                .unwrap();
            assert_eq!(of_store(store).await.0.len(), 1);
        };
        simulation.block_on(node, work, Duration::from_secs(60)).unwrap();
    }
}
