//! What the application knows of the device, and may ask of it.

use crate::config::Project;
use crate::shared::Shared;
use crate::update::{Client, Fault};
use embassy_net::Stack;
use towline_app::rest::Offered;

/// The device, as the tasks of the application see it.
#[derive(Clone, Copy)]
pub struct Handle {
    pub(crate) client: &'static Client,
    pub(crate) stack: Stack<'static>,
    pub(crate) shared: &'static Shared,
}

impl Handle {
    /// Returns the network: the application has as many sockets of its own as
    /// the variable `TOWLINE_APP_SOCKETS` of the build says.
    pub fn stack(&self) -> Stack<'static> {
        self.stack
    }

    /// Returns the project and the version that runs.
    pub fn project(&self) -> Project {
        self.shared.project
    }

    /// Returns the name of the device in its network.
    pub fn hostname(&self) -> &'static str {
        &self.shared.hostname
    }

    /// Returns the channel that the device follows.
    pub fn channel(&self) -> &'static str {
        self.shared.settings().channel()
    }

    /// Returns whether what runs still has to prove itself.
    pub fn is_on_trial(&self) -> bool {
        self.shared.on_trial.get()
    }

    /// Returns what the channel offered when it was last asked: the version, the
    /// start of its notes, and why it is not installed.
    pub fn offered(&self) -> Option<Offered> {
        self.client.offered()
    }

    /// Asks the channel what it offers, without installing it. Ask seldom, and not on
    /// trial: the slots are this call's until there is an answer, and the trial has
    /// little time to end.
    ///
    /// # Errors
    /// If the channel is not reached, or not believed.
    pub async fn check(&self) -> Result<Offered, Fault> {
        self.client.check(self.shared).await.map(|(offered, _)| offered)
    }
}
