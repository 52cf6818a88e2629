//! One core of the broker: its connections, the shards it drives, its replicas of the control tables.
//!
//! Everything here stays on the core's thread. Other cores reach it only by [`CoreMessage`]; a message that carries work
//! ([`CoreMessage::Run`]) runs as a plain function of the receiving core.

use crate::control::Control;
use crate::handlers::pull::HeldPull;
use crate::held_pulls::HeldPulls;
use crate::incoming::Incoming;
use crate::replicas::Replicas;
use crate::request::{Origin, ReplyTo, Request};
use crate::settings::Settings;
use crate::shard::CoreShard;
use crate::stats::CoreStats;
use bytes::{Bytes, BytesMut};
use protocol::header_writer::HeaderWriter;
use protocol::message::id::UniqueIdMaker;
use protocol::model::{QueueId, ShardCount, ShardId, home_shard};
use protocol::response_code::ResponseCode;
use remoting::Connections;
use runtime::mailbox::Post;
use runtime::sync::{Notify, oneshot};
use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

/// The core that owns the control tables.
pub const CONTROL_CORE: usize = 0;

/// Work for another core.
pub type Work = Box<dyn FnOnce(&Rc<Core>) + Send>;

/// What cores send each other.
#[expect(
    clippy::large_enum_variant,
    reason = "most messages are requests: boxing them would cost an allocation each"
)]
pub enum CoreMessage {
    /// A request whose home is the receiving core.
    Request(Request),
    /// An answer to a request that came by the receiving core.
    Reply {
        /// How the request came.
        origin: Origin,
        /// The frame, in parts.
        parts: Vec<Bytes>,
    },
    /// Answers to the sends of one group commit.
    SendReplies {
        /// The frames, one after the other.
        frames: Bytes,
        /// Whose they are, and the length of each.
        lengths: Vec<(Origin, usize)>,
    },
    /// Work for the receiving core.
    Run(Work),
}

impl fmt::Debug for CoreMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CoreMessage::Request(_) => "Request",
            CoreMessage::Reply { .. } => "Reply",
            CoreMessage::SendReplies { .. } => "SendReplies",
            CoreMessage::Run(_) => "Run",
        })
    }
}

/// Which core drives which shard.
#[derive(Clone, Copy, Debug)]
pub struct ShardMap {
    shards: ShardCount,
    cores: usize,
}

impl ShardMap {
    /// Shards dealt out to cores in turn.
    #[must_use]
    pub fn new(shards: ShardCount, cores: usize) -> ShardMap {
        assert!(cores > 0, "a broker has at least one core");
        ShardMap { shards, cores }
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> ShardCount {
        self.shards
    }

    /// How many cores there are.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.cores
    }

    /// The core that drives a shard.
    #[must_use]
    pub fn core_of(&self, shard: ShardId) -> usize {
        shard.index() % self.cores
    }

    /// The home shard of a queue.
    #[must_use]
    pub fn home(&self, topic: &str, queue_id: QueueId) -> ShardId {
        home_shard(topic, queue_id, self.shards)
    }

    /// The shards that a core drives.
    pub fn shards_of(self, core: usize) -> impl Iterator<Item = ShardId> {
        self.shards.shards().filter(move |&shard| self.core_of(shard) == core)
    }
}

/// One core. Handed around as `Rc<Core>`; never leaves its thread.
pub struct Core {
    /// Its number; 0 owns the control tables.
    pub index: usize,
    /// Where the shards are.
    pub map: ShardMap,
    /// What the configuration says now; replaced as a whole when it changes. A copy that is this core's own: each request
    /// holds it for a moment, and a count of holders that several cores change would go to and fro between their caches.
    settings: RefCell<Arc<Settings>>,
    post: Post<CoreMessage>,
    /// The clients that are connected here.
    pub connections: Connections,
    /// By shard number; `None` for those of other cores. Filled once, when the shards have been opened.
    shards: OnceCell<Vec<Option<Rc<CoreShard>>>>,
    /// This core's copy of the control tables.
    pub replicas: RefCell<Replicas>,
    /// The control tables themselves, on core 0.
    control: Option<Rc<Control>>,
    /// Pulls that wait here.
    pub held_pulls: RefCell<HeldPulls<HeldPull>>,
    /// Rung when a held pull has a new first deadline.
    pub held_pulls_changed: Notify,
    /// What this core counts.
    pub stats: CoreStats,
    /// Properties of the message that is being read.
    pub incoming: RefCell<Incoming>,
    /// Makes unique ids for messages that have none.
    pub unique_ids: RefCell<UniqueIdMaker>,
    /// On a slave: where its master's HA port is, as far as it is known.
    master: RefCell<Option<String>>,
    /// On core 0 of a slave: where its master's broker port is.
    master_broker: RefCell<Option<String>>,
}

impl Core {
    /// A core without shards; they come by [`Core::set_shards`] once they are open.
    #[must_use]
    pub fn new(
        map: ShardMap,
        settings: &Settings,
        post: Post<CoreMessage>,
        connections: Connections,
        replicas: Replicas,
        control: Option<Rc<Control>>,
    ) -> Rc<Core> {
        let maker = u32::try_from(post.core()).unwrap_or(u32::MAX);
        let unique_ids = UniqueIdMaker::new(settings.store_host.ip(), std::process::id(), maker);
        Rc::new(Core {
            index: post.core(),
            map,
            settings: RefCell::new(Arc::new(settings.clone())),
            post,
            connections,
            shards: OnceCell::new(),
            replicas: RefCell::new(replicas),
            control,
            held_pulls: RefCell::default(),
            held_pulls_changed: Notify::new(),
            stats: CoreStats::default(),
            incoming: RefCell::default(),
            unique_ids: RefCell::new(unique_ids),
            master: RefCell::default(),
            master_broker: RefCell::default(),
        })
    }

    /// Gives the core its shards. Requests are served only after that.
    pub fn set_shards(&self, shards: Vec<Option<Rc<CoreShard>>>) {
        let first = self.shards.set(shards);
        assert!(first.is_ok(), "the shards of core {} were set twice", self.index);
    }

    /// The configuration as it is now.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Replaces the configuration of this core.
    pub fn set_settings(&self, settings: &Settings) {
        *self.settings.borrow_mut() = Arc::new(settings.clone());
    }

    /// On a slave: where its master's HA port is, `host:port`.
    #[must_use]
    pub fn master_ha_address(&self) -> Option<String> {
        crate::replication::configured(&self.settings().config).or_else(|| self.master.borrow().clone())
    }

    /// The name servers have said where the master is.
    pub fn set_master_ha_address(&self, address: String) {
        *self.master.borrow_mut() = Some(address);
    }

    /// On core 0 of a slave: where its master's broker port is, as the name servers said last.
    #[must_use]
    pub fn master_broker_address(&self) -> Option<String> {
        self.master_broker.borrow().clone()
    }

    /// The name servers have said where the master's broker port is.
    pub fn set_master_broker_address(&self, address: String) {
        *self.master_broker.borrow_mut() = Some(address);
    }

    /// A shard that this core drives.
    #[must_use]
    pub fn shard(&self, shard: ShardId) -> Option<&Rc<CoreShard>> {
        self.shards.get()?.get(shard.index())?.as_ref()
    }

    /// The shards that this core drives.
    pub fn own_shards(&self) -> impl Iterator<Item = &Rc<CoreShard>> {
        self.shards.get().into_iter().flatten().flatten()
    }

    /// The control tables, if this is the core that owns them.
    #[must_use]
    pub fn control(&self) -> Option<&Rc<Control>> {
        self.control.as_ref()
    }

    /// Hands over what each loop turn sent to other cores, for ever.
    pub async fn run_post(&self) {
        self.post.run_flusher().await;
    }

    /// Handles what other cores send, for ever.
    pub async fn run_inbox(self: Rc<Self>) {
        let mut messages = Vec::new();
        loop {
            self.post.receive(&mut messages).await;
            for message in messages.drain(..) {
                self.receive(message);
            }
        }
    }

    fn receive(self: &Rc<Self>, message: CoreMessage) {
        match message {
            CoreMessage::Request(request) => crate::dispatch::run_here(self, request),
            CoreMessage::Reply { origin, parts } => self.answer(&origin, |_out| {}, parts),
            CoreMessage::SendReplies { frames, lengths } => self.answer_sends(&frames, &lengths),
            CoreMessage::Run(work) => work(self),
        }
    }

    /// Forwards a request to its home core, or says `[OVERLOAD]` when that core is too far behind.
    pub fn forward(&self, core: usize, request: Request) {
        if let Err(CoreMessage::Request(refused)) = self.post.try_send(core, CoreMessage::Request(request)) {
            self.stats.put_refused();
            let remark =
                format!("[OVERLOAD]system busy, start flow control for a while: the mailbox of core {core} is full");
            self.refuse(&refused.reply_to(), ResponseCode::SYSTEM_BUSY, &remark);
        }
    }

    /// Has another core (or this one) do something, in the order of all that this core sends there.
    pub fn run_on(&self, core: usize, work: impl FnOnce(&Rc<Core>) + Send + 'static) {
        self.post.send(core, CoreMessage::Run(Box::new(work)));
    }

    /// Has another core (or this one) work something out, and waits for it. `None` when the broker is stopping.
    pub async fn ask<T, F>(&self, core: usize, work: impl FnOnce(Rc<Core>) -> F + Send + 'static) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        self.begin(core, work).await.ok()
    }

    /// Asks every core, all at the same time; the answers are in the order of the cores.
    pub async fn ask_all<T, F>(&self, work: impl Fn(Rc<Core>) -> F + Clone + Send + 'static) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let asked: Vec<oneshot::Receiver<T>> = (0..self.map.cores())
            .map(|core| self.begin(core, work.clone()))
            .collect();
        let mut answers = Vec::with_capacity(asked.len());
        for answered in asked {
            answers.extend(answered.await.ok());
        }
        answers
    }

    /// Has a core begin to work something out.
    fn begin<T, F>(&self, core: usize, work: impl FnOnce(Rc<Core>) -> F + Send + 'static) -> oneshot::Receiver<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.run_on(core, move |other| {
            let work = work(Rc::clone(other));
            runtime::spawn(async move {
                // The asker may have given up.
                let _unheard = answer.send(work.await);
            });
        });
        answered
    }

    /// Answers a request: a header that `fill` adds fields to and, behind it, `body`.
    pub fn reply(&self, to: &ReplyTo, code: ResponseCode, fill: impl FnOnce(&mut HeaderWriter<'_>), body: Vec<Bytes>) {
        if to.oneway {
            return self.finish(&to.origin);
        }
        let body_size = body.iter().map(Bytes::len).sum();
        let write = |out: &mut BytesMut| write_reply(to, code, fill, body_size, out);
        if to.origin.core == self.index {
            return self.answer(&to.origin, write, body);
        }
        let mut header = BytesMut::with_capacity(256);
        write(&mut header);
        let mut parts = Vec::with_capacity(1 + body.len());
        parts.push(header.freeze());
        parts.extend(body);
        self.post.send(
            to.origin.core,
            CoreMessage::Reply {
                origin: to.origin,
                parts,
            },
        );
    }

    /// Answers a request with an error.
    pub fn refuse(&self, to: &ReplyTo, code: ResponseCode, remark: &str) {
        self.reply(to, code, |header| header.set_remark(remark), Vec::new());
    }

    /// Sends the answers of one group commit that belong to another core.
    pub fn send_replies(&self, core: usize, frames: Bytes, lengths: Vec<(Origin, usize)>) {
        self.post.send(core, CoreMessage::SendReplies { frames, lengths });
    }

    /// Answers by a connection of this core; nothing happens if it has gone.
    pub fn answer(&self, origin: &Origin, write: impl FnOnce(&mut BytesMut), parts: Vec<Bytes>) {
        let Some(connection) = self.connections.get(origin.connection) else {
            return;
        };
        if origin.counted {
            connection.reply_parts(write, parts);
        } else {
            connection.send_parts(write, parts);
        }
    }

    fn answer_sends(&self, frames: &Bytes, lengths: &[(Origin, usize)]) {
        let mut rest = &frames[..];
        for (origin, length) in lengths {
            let Some((frame, after)) = rest.split_at_checked(*length) else {
                return;
            };
            rest = after;
            self.answer(origin, |out| out.extend_from_slice(frame), Vec::new());
        }
    }

    /// A request needs no answer.
    pub(crate) fn finish(&self, origin: &Origin) {
        if !origin.counted {
            return;
        }
        let (connection, core) = (origin.connection, origin.core);
        let finish = move |core: &Core| {
            if let Some(connection) = core.connections.get(connection) {
                connection.finish_request();
            }
        };
        if core == self.index {
            finish(self);
        } else {
            self.run_on(core, move |core| finish(core));
        }
    }
}

/// Appends the header of an answer. A body that no frame can hold is answered by an error, so that the client does not
/// wait for nothing.
fn write_reply(
    to: &ReplyTo,
    code: ResponseCode,
    fill: impl FnOnce(&mut HeaderWriter<'_>),
    body_size: usize,
    out: &mut BytesMut,
) {
    let mut header = HeaderWriter::response(out, to.serialize, code, to.opaque);
    fill(&mut header);
    if let Err(error) = header.finish(body_size) {
        tracing::error!(%error, peer = %to.origin.peer, opaque = to.opaque, "an answer fits into no frame");
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}
