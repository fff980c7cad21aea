//! The observer of commits.

use futures_util::future::BoxFuture;

use crate::log::{Commit, Logged};

/// Is called with each commit before its commands are answered. The copy in Redis is such an observer. All commands of
/// the commit wait for it, so it limits its own time.
pub struct CommitObserver {
    /// The most revocations of one commit that the observer wants. With 0, none are read.
    pub most: u64,
    /// Is called with the commit and its revocations, in their order.
    pub tell: Box<dyn Fn(Commit, Vec<Logged>) -> BoxFuture<'static, ()> + Send + Sync>,
}

impl CommitObserver {
    /// An observer that does nothing.
    pub fn none() -> Self {
        Self { most: 0, tell: Box::new(|_, _| Box::pin(std::future::ready(()))) }
    }
}
