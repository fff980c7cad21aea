//! The word to stop, from the one who runs the tasks to the tasks.

use tokio::sync::watch;

/// Says stop, once. Dropping it says the same.
pub struct Stopper(watch::Sender<bool>);

/// Hears it. Clones hear the same word.
#[derive(Clone)]
pub struct Stop(watch::Receiver<bool>);

/// Makes both ends.
pub fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Says stop.
    pub fn stop(self) {
        // Nobody listens any more: then everybody has stopped.
        let _ = self.0.send(true);
    }
}

impl Stop {
    /// Returns when stop has been said.
    pub async fn requested(&mut self) {
        let _ = self.0.wait_for(|&stopped| stopped).await;
    }
}
