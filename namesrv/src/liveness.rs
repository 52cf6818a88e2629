//! Drops brokers that have been silent for too long. There is no timer while there is no broker.

use crate::config::duration;
use crate::name_server::NameServer;
use runtime::Instant;
use std::rc::Rc;
use std::time::Duration;

/// Watches the brokers, until it is dropped.
pub(crate) async fn watch(server: Rc<NameServer>) {
    loop {
        let next = server.routes().borrow().next_expiry();
        let Some(next) = next else {
            server.until_brokers_change().await;
            continue;
        };
        let longest = duration(
            &server.settings(),
            "scanNotActiveBrokerInterval",
            Duration::from_millis(1),
        );
        runtime::sleep((next - Instant::now()).clamp(Duration::from_millis(10), longest)).await;
        let changes = server.routes().borrow_mut().expire(Instant::now());
        changes
            .into_iter()
            .for_each(|change| server.notify_min_id_change(Some(change)));
    }
}
