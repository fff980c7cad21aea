//! What a model must reach. A system that does nothing would keep the promise too.

use curfew_control_plane::leases::protocol::Safe;
use stateright::Property;

use crate::scene::Scene;
use crate::world::World;

/// What must be possible in a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    ByAcknowledgement,
    ByTime,
    AdmittedByReplica,
    AdmittedByReplicaAfterALogout,
    AdmittedByAnswer,
    DeadOneIgnored,
}

impl Reached {
    pub(crate) fn property(self) -> Property<Scene> {
        match self {
            Self::ByAcknowledgement => {
                Property::sometimes("a logout is answered by acknowledgements", |_, world: &World| {
                    world.answered.contains(&Some(Safe::Acknowledged))
                })
            }
            Self::ByTime => Property::sometimes("a logout is answered by the passing of time", |_, world: &World| {
                world.answered.contains(&Some(Safe::Outlasted))
            }),
            Self::AdmittedByReplica => {
                Property::sometimes("a worker admits by its replica", |scene: &Scene, world: &World| {
                    world.admits(scene, 0, scene.bystander())
                })
            }
            Self::AdmittedByReplicaAfterALogout => {
                Property::sometimes("a worker goes on after a logout", |scene: &Scene, world: &World| {
                    world.answered.iter().any(Option::is_some) && world.admits(scene, 0, scene.bystander())
                })
            }
            Self::AdmittedByAnswer => Property::sometimes("a worker admits by an answer", |_, world: &World| {
                world.workers.iter().any(|worker| worker.admitted_by_answer)
            }),
            Self::DeadOneIgnored => {
                Property::sometimes("a logout does not wait for one that is gone", |_, world: &World| {
                    world.a_dead_one_was_ignored()
                })
            }
        }
    }
}
