//! What the room asks of its surroundings: a database, a clock, and lines to the other control planes. The shipped ones are
//! the store, the machine's clock and Redis; tests put others in their places, so that they run the room as it is.

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::clock::LocalClock;
use crate::log::{Beat, Commit, ControlPlaneId, ControlPlanes, LogPage, LogPosition};
use crate::redis::{Channel, Settings, Speaker};
use crate::store::{ReadFailure, RowFailure, RowWriter, Store};

/// What a control plane is put into.
pub struct Surroundings {
    /// Its name, which no process has had before.
    pub id: ControlPlaneId,
    /// Its local clock. The [`Commit`]s that it waits for carry times of this clock.
    pub clock: LocalClock,
    /// Its database.
    pub store: Box<dyn LogStore>,
}

/// The database, as far as the room uses it. The room limits no time: each call ends by itself.
pub trait LogStore: Send + Sync {
    /// See [`Store::log_page`].
    fn log_page(&self, own: ControlPlaneId, after: u64, limit: usize) -> BoxFuture<'_, Result<LogPage, ReadFailure>>;

    /// See [`Store::head`].
    fn head(&self) -> BoxFuture<'_, Result<LogPosition, ReadFailure>>;

    /// See [`Store::control_planes`].
    fn control_planes(&self) -> BoxFuture<'_, Result<ControlPlanes, ReadFailure>>;

    /// A writer of rows with a connection of its own.
    fn row_store(&self) -> Box<dyn RowStore>;

    /// The newest commit of this process.
    fn commits(&self) -> watch::Receiver<Option<Commit>>;

    /// Counts how often the database turned out to be one that may not be believed.
    fn distrusts(&self) -> watch::Receiver<u64>;

    /// See [`Store::explains`].
    fn explains(&self, failure: &ReadFailure) -> bool;
}

/// Writes rows of control planes.
pub trait RowStore: Send {
    /// See [`RowWriter::write`].
    fn write(&mut self, id: ControlPlaneId, beat: Beat) -> BoxFuture<'_, Result<(), RowFailure>>;

    /// See [`RowWriter::replace`].
    fn replace(&mut self, id: ControlPlaneId, beat: u64) -> BoxFuture<'_, Result<(), RowFailure>>;

    /// See [`RowWriter::remove`].
    fn remove(&mut self, id: ControlPlaneId, beat: u64) -> BoxFuture<'_, Result<(), RowFailure>>;

    /// See [`RowWriter::explains`].
    fn explains(&self, failure: &RowFailure) -> bool;
}

/// Opens lines on which all control planes hear each other, and themselves.
pub trait Lines: Send + Sync {
    /// Opens a line to the channel of this name; or says why not, for the log. `attempt` counts the attempts.
    fn open<'a>(&'a self, channel: &'a str, attempt: usize) -> BoxFuture<'a, Result<Box<dyn Line>, String>>;
}

/// One line.
pub trait Line: Send {
    /// The next message; `None` if the line is dead.
    fn heard(&mut self) -> BoxFuture<'_, Option<Vec<u8>>>;

    /// Sends a message to all listeners; or says why not, for the log.
    fn say<'a>(&'a mut self, message: &'a [u8]) -> BoxFuture<'a, Result<(), String>>;
}

impl LogStore for Store {
    fn log_page(&self, own: ControlPlaneId, after: u64, limit: usize) -> BoxFuture<'_, Result<LogPage, ReadFailure>> {
        Box::pin(Self::log_page(self, own, after, limit))
    }

    fn head(&self) -> BoxFuture<'_, Result<LogPosition, ReadFailure>> {
        Box::pin(Self::head(self))
    }

    fn control_planes(&self) -> BoxFuture<'_, Result<ControlPlanes, ReadFailure>> {
        Box::pin(Self::control_planes(self))
    }

    fn row_store(&self) -> Box<dyn RowStore> {
        Box::new(self.row_writer())
    }

    fn commits(&self) -> watch::Receiver<Option<Commit>> {
        self.writer().commits()
    }

    fn distrusts(&self) -> watch::Receiver<u64> {
        Self::distrusts(self)
    }

    fn explains(&self, failure: &ReadFailure) -> bool {
        Self::explains(self, failure)
    }
}

impl RowStore for RowWriter {
    fn write(&mut self, id: ControlPlaneId, beat: Beat) -> BoxFuture<'_, Result<(), RowFailure>> {
        Box::pin(Self::write(self, id, beat))
    }

    fn replace(&mut self, id: ControlPlaneId, beat: u64) -> BoxFuture<'_, Result<(), RowFailure>> {
        Box::pin(Self::replace(self, id, beat))
    }

    fn remove(&mut self, id: ControlPlaneId, beat: u64) -> BoxFuture<'_, Result<(), RowFailure>> {
        Box::pin(Self::remove(self, id, beat))
    }

    fn explains(&self, failure: &RowFailure) -> bool {
        Self::explains(self, failure)
    }
}

impl Lines for Settings {
    fn open<'a>(&'a self, channel: &'a str, attempt: usize) -> BoxFuture<'a, Result<Box<dyn Line>, String>> {
        Box::pin(async move {
            let channel = Channel::open(self, channel, attempt).await.map_err(|failure| failure.to_string())?;
            let speaker = channel.speaker();
            Ok(Box::new(RedisLine { channel, speaker }) as Box<dyn Line>)
        })
    }
}

/// A line through Redis.
struct RedisLine {
    channel: Channel,
    speaker: Speaker,
}

impl Line for RedisLine {
    fn heard(&mut self) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(self.channel.heard())
    }

    fn say<'a>(&'a mut self, message: &'a [u8]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.speaker.say(message).await.map_err(|failure| failure.to_string()) })
    }
}
