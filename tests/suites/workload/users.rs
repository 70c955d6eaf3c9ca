//! Users who ask all the while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use duo_e2e::World;
use duo_sim::gitlab::{Ask, Outcome, What};
use tokio::task::JoinHandle;

/// Asks one after the other until [`Users::stop`].
pub struct Users {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<Vec<Outcome>>>,
}

impl Users {
    /// One user for each of these.
    pub fn start(world: &Arc<World>, whats: &[What]) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let tasks = whats.iter().copied().map(|what| {
            let (world, stop, asked) = (Arc::clone(world), Arc::clone(&stop), Arc::clone(&asked));
            tokio::spawn(async move {
                let mut lost = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let outcome = world.gitlab.ask(what, &Ask::default()).await;
                    asked.fetch_add(1, Ordering::Relaxed);
                    if !outcome.ok {
                        lost.push(outcome);
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                lost
            })
        });
        let tasks = tasks.collect();
        Self { stop, asked, tasks }
    }

    /// Waits for some more answers.
    pub async fn go_on(&self, world: &World) {
        let before = self.asked.load(Ordering::Relaxed);
        world.eventually("users went on asking", || self.asked.load(Ordering::Relaxed) > before + 10).await;
    }

    /// Stops them and checks that each got an answer.
    pub async fn stop(self, world: &World) {
        self.go_on(world).await;
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            let lost = task.await.expect("the users' task");
            assert!(lost.is_empty(), "{} calls were lost: {:#?}\n{}", lost.len(), lost.first(), world.log_tail());
        }
    }
}
