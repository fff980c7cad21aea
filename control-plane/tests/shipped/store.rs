//! A control plane's store: statements that take time, fail, hang, or are carried out without an answer.

use std::future::pending;
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use curfew_control_plane::leases::{LogStore, RowStore};
use curfew_control_plane::log::{Beat, Commit, ControlPlaneId, ControlPlanes, LogPage, LogPosition};
use curfew_control_plane::store::{ReadFailure, RowFailure};
use curfew_core::RevocationKey;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::clocks::Clocks;
use crate::mutant::Mutant;
use crate::scene::ms;
use crate::server::Server;
use crate::trust::{Seen, Trust};
use crate::world::World;

/// The limits of the shipped store.
const READ_LIMIT: Duration = ms(450);
const ROW_LIMIT: Duration = ms(600);

/// The store of one process.
#[derive(Clone)]
pub(crate) struct FakeStore {
    pub(crate) world: Arc<World>,
    pub(crate) plane: usize,
    pub(crate) life: u64,
    link: Arc<Link>,
}

struct Link {
    clock: curfew_control_plane::clock::LocalClock,
    trust: Mutex<Trust>,
    commits: watch::Sender<Option<Commit>>,
    /// One transaction at a time.
    writer: tokio::sync::Mutex<()>,
    dead: CancellationToken,
}

/// How one statement fares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Journey {
    pub(crate) there: Duration,
    pub(crate) back: Duration,
    pub(crate) fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    NotDone,
    AnswerLost,
    Hangs,
}

/// What kind of statement it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The room learns from its answer which history is there.
    Teaches,
    Other,
}

fn failed<T>() -> Result<T, Error> {
    Err(Error::from(ErrorKind::ConnectionReset))
}

impl FakeStore {
    pub(crate) fn new(world: &Arc<World>, plane: usize, life: u64, clocks: Clocks, dead: CancellationToken) -> Self {
        let link = Link {
            clock: clocks.local(world),
            trust: Mutex::new(Trust::new()),
            commits: watch::Sender::new(None),
            writer: tokio::sync::Mutex::new(()),
            dead,
        };
        Self { world: Arc::clone(world), plane, life, link: Arc::new(link) }
    }

    pub(crate) fn clock(&self) -> curfew_control_plane::clock::LocalClock {
        self.link.clock.clone()
    }

    fn trust<T>(&self, work: impl FnOnce(&mut Trust) -> T) -> T {
        work(&mut self.link.trust.lock().unwrap())
    }

    /// Carries one statement to a server and brings its answer back, unless the answer is not believed.
    async fn ask<T>(&self, kind: Kind, asked: impl FnOnce(&mut Server) -> T) -> Result<T, Error> {
        let (before, fenced) = self.trust(|trust| (trust.seen.clone(), trust.fenced));
        if fenced {
            return failed();
        }
        let began = self.world.now();
        let journey = self.world.with(|world| world.journey(self.world.now(), &self.world.scene));
        sleep(journey.there).await;
        match journey.fate {
            Fate::NotDone => return failed(),
            Fate::Hangs => pending().await,
            Fate::Done | Fate::AnswerLost => {}
        }
        let done = self.world.with(|world| {
            let index = world.server_of(self.plane, self.world.now())?;
            let server = &mut world.servers[index];
            Some((index, server.head, server.is_named, asked(server)))
        });
        let Some((index, head, is_named, result)) = done else { return failed() };
        sleep(journey.back).await;
        if journey.fate == Fate::AnswerLost {
            return failed();
        }
        if !self.believes(&before, head, is_named) {
            self.distrust(index);
            return failed();
        }
        self.trust(|trust| trust.observe(&before, head));
        if kind == Kind::Teaches {
            self.world
                .trace(|| format!("control plane {} reads {head:?} of server {index} since {began:?}", self.plane));
            self.world.with(|world| world.taught((self.plane, self.life), index, began, self.world.now()));
        }
        Ok(result)
    }

    fn believes(&self, before: &Seen, head: LogPosition, is_named: bool) -> bool {
        let believed = Trust::believes(before, head, is_named);
        believed || (is_named && self.world.scene.is(Mutant::OldPrimaryBelieved))
    }

    /// Stops all reads, and has the watch look.
    fn distrust(&self, server: usize) {
        let untold = self.world.scene.is(Mutant::DistrustUntold);
        if !self.trust(|trust| trust.fence(untold)) {
            return;
        }
        let now = self.world.now();
        self.world.trace(|| format!("control plane {} distrusts server {server}", self.plane));
        self.world.with(|world| {
            world.reached.distrusts += 1;
            // The pool is thrown away.
            world.planes[self.plane].mixes = false;
            let lost = world.servers.len() - 1;
            world.planes[self.plane].is_warned(self.life, lost, now);
        });
        let watch = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = watch.recover() => {}
                () = watch.link.dead.cancelled() => {}
            }
        });
    }

    /// Looks each second until the database may be believed again; the writer takes another history over.
    async fn recover(&self) {
        loop {
            let before = self.trust(|trust| trust.seen.clone());
            let journey = self.world.with(|world| world.journey(self.world.now(), &self.world.scene));
            sleep(journey.there).await;
            let head = self.world.with(|world| {
                let index = world.server_of(self.plane, self.world.now())?;
                world.take_over(index, &self.world.scene);
                Some(world.servers[index].head)
            });
            sleep(journey.back).await;
            if journey.fate == Fate::Done
                && let Some(head) = head
                && Trust::believes(&before, head, true)
            {
                return self.trust(|trust| {
                    trust.observe(&before, head);
                    trust.fenced = false;
                });
            }
            sleep(ms(1000)).await;
        }
    }

    /// Logs a token out. The outcome of a commit whose answer is lost is unknown.
    pub(crate) async fn commit(&self, key: RevocationKey, logout: usize) -> Option<Commit> {
        let _turn = self.link.writer.lock().await;
        let before = self.trust(|trust| trust.seen.clone());
        let (began, since) = (self.link.clock.now(), self.world.now());
        let journey = self.world.with(|world| world.journey(self.world.now(), &self.world.scene));
        sleep(journey.there).await;
        if matches!(journey.fate, Fate::NotDone | Fate::Hangs) {
            return None;
        }
        let (index, from, head) = self.world.with(|world| {
            let index = world.writer_of(self.plane, self.world.now())?;
            world.take_over(index, &self.world.scene);
            let from = world.servers[index].head;
            if !Trust::believes(&before, from, true) {
                return Some((index, from, None));
            }
            let entry = world.servers[index].revoke(key);
            world.logouts[logout].entry = Some((index, entry));
            if index + 1 < world.servers.len() {
                world.logouts[logout].lost = Some(index + 1);
            }
            Some((index, from, Some(world.servers[index].head)))
        })?;
        sleep(journey.back).await;
        let Some(head) = head else {
            self.distrust(index);
            return None;
        };
        if journey.fate == Fate::AnswerLost {
            return None;
        }
        self.world.with(|world| world.shows((self.plane, self.life), index, since));
        let last = self.link.commits.borrow().map(|commit| commit.head);
        let hides = self.world.scene.is(Mutant::OwnCommitHidesOthers);
        let from = last.filter(|last| hides && last.epoch == from.epoch).unwrap_or(from);
        let commit = Commit { before: from, head, began, returned: self.link.clock.now() };
        self.link.commits.send_replace(Some(commit));
        self.world.trace(|| format!("logout {logout}: control plane {} commits {from:?} to {head:?}", self.plane));
        self.trust(|trust| trust.observe(&before, head));
        Some(commit)
    }

    async fn write(&self, asked: impl FnOnce(&mut Server)) -> Result<(), RowFailure> {
        let late = |_| failed();
        let written = timeout(ROW_LIMIT, self.ask(Kind::Other, asked)).await.unwrap_or_else(late);
        written.map_err(|error| RowFailure::from(sqlx::Error::from(error)))
    }

    async fn read<T>(&self, kind: Kind, asked: impl FnOnce(&mut Server) -> T) -> Result<T, ReadFailure> {
        let late = |_| failed();
        Ok(timeout(READ_LIMIT, self.ask(kind, asked)).await.unwrap_or_else(late)?)
    }
}

impl LogStore for FakeStore {
    fn log_page(&self, own: ControlPlaneId, after: u64, limit: usize) -> BoxFuture<'_, Result<LogPage, ReadFailure>> {
        let scene = &self.world.scene;
        let stale = scene.is(Mutant::StaleReadings).then(|| self.world.with(|world| world.lag(self.world.now())));
        let beat = scene.is(Mutant::RowShownEarly).then(|| self.world.with(|world| world.planes[self.plane].beat));
        Box::pin(async move {
            let mut page = self
                .read(Kind::Teaches, |server| match stale.filter(|stale| stale.head.epoch == server.head.epoch) {
                    Some(stale) => {
                        LogPage { own_beat: server.page(own, after, 0).own_beat, ..stale.page(own, after, limit) }
                    }
                    None => server.page(own, after, limit),
                })
                .await?;
            page.own_beat = beat.flatten().max(page.own_beat);
            Ok(page)
        })
    }

    fn head(&self) -> BoxFuture<'_, Result<LogPosition, ReadFailure>> {
        Box::pin(self.read(Kind::Other, |server| server.head))
    }

    fn control_planes(&self) -> BoxFuture<'_, Result<ControlPlanes, ReadFailure>> {
        let (hidden, removed) =
            (self.world.scene.is(Mutant::OthersHidden), self.world.scene.is(Mutant::RowRemovedEarly));
        Box::pin(async move {
            let mut planes = self
                .read(Kind::Teaches, |server| {
                    if removed {
                        server.forget_rows();
                    }
                    server.planes()
                })
                .await?;
            if hidden {
                planes.rows.clear();
            }
            Ok(planes)
        })
    }

    fn row_store(&self) -> Box<dyn RowStore> {
        Box::new(self.clone())
    }

    fn commits(&self) -> watch::Receiver<Option<Commit>> {
        self.link.commits.subscribe()
    }

    fn distrusts(&self) -> watch::Receiver<u64> {
        self.trust(|trust| trust.distrusts.subscribe())
    }

    fn explains(&self, _: &ReadFailure) -> bool {
        true
    }
}

impl RowStore for FakeStore {
    fn write(&mut self, id: ControlPlaneId, beat: Beat) -> BoxFuture<'_, Result<(), RowFailure>> {
        self.world.with(|world| world.planes[self.plane].beat = Some(beat.beat));
        self.world.trace(|| format!("control plane {} writes {beat:?}", self.plane));
        Box::pin(Self::write(self, move |server| server.write_row(id, beat)))
    }

    fn replace(&mut self, id: ControlPlaneId, beat: u64) -> BoxFuture<'_, Result<(), RowFailure>> {
        let nobody = ControlPlaneId::from_bytes(self.world.with(|world| world.dice.sixteen()));
        Box::pin(Self::write(self, move |server| server.replace_row(id, beat, nobody)))
    }

    fn explains(&self, _: &RowFailure) -> bool {
        true
    }

    fn remove(&mut self, id: ControlPlaneId, beat: u64) -> BoxFuture<'_, Result<(), RowFailure>> {
        Box::pin(async move {
            let mut removed = false;
            let result = Self::write(self, |server| removed = server.remove_row(id, beat)).await;
            self.world.with(|world| world.reached.rows_removed += u64::from(removed));
            result
        })
    }
}
