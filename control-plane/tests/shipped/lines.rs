//! Lines between control planes: each message reaches every listener, its sender too, once or twice, late or never.

use std::sync::Arc;

use curfew_control_plane::leases::{Line, Lines};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::mutant::Mutant;
use crate::world::World;

/// The lines of one control plane.
pub(crate) struct FakeLines {
    pub(crate) world: Arc<World>,
    pub(crate) plane: usize,
}

struct FakeLine {
    world: Arc<World>,
    plane: usize,
    hears: mpsc::UnboundedReceiver<Vec<u8>>,
}

/// A listener.
pub(crate) struct Ear {
    plane: usize,
    hears: mpsc::UnboundedSender<Vec<u8>>,
}

impl Lines for FakeLines {
    fn open<'a>(&'a self, _channel: &'a str, _attempt: usize) -> BoxFuture<'a, Result<Box<dyn Line>, String>> {
        Box::pin(async move {
            sleep(self.world.scene.latency).await;
            if self.world.with(|world| world.lines_are_dead(self.world.now())) {
                return Err("dead".to_owned());
            }
            let (sender, hears) = mpsc::unbounded_channel();
            let (world, plane) = (Arc::clone(&self.world), self.plane);
            world.with(|world| world.ears.push(Ear { plane, hears: sender }));
            Ok(Box::new(FakeLine { world, plane, hears }) as Box<dyn Line>)
        })
    }
}

impl Line for FakeLine {
    fn heard(&mut self) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(self.hears.recv())
    }

    fn say<'a>(&'a mut self, message: &'a [u8]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            sleep(self.world.scene.latency).await;
            if self.world.with(|world| world.lines_are_dead(self.world.now())) {
                return Err("dead".to_owned());
            }
            let mute = self.world.scene.is(Mutant::LinesMute);
            let deliveries = self.world.with(|world| {
                let now = self.world.now();
                world.ears.retain(|ear| !ear.hears.is_closed());
                let ears: Vec<_> = world.ears.iter().map(|ear| (ear.plane, ear.hears.clone())).collect();
                let ears = ears.into_iter().filter(|(plane, _)| !mute || *plane == self.plane);
                let times = ears.flat_map(|(plane, ear)| {
                    let delays = world.deliveries(now, &self.world.scene);
                    world.reached.messages += u64::from(plane != self.plane);
                    delays.into_iter().map(move |delay| (delay, ear.clone()))
                });
                times.collect::<Vec<_>>()
            });
            for (delay, ear) in deliveries {
                let message = message.to_vec();
                tokio::spawn(async move {
                    sleep(delay).await;
                    let _ = ear.send(message);
                });
            }
            Ok(())
        })
    }
}
