//! A channel on which control planes send messages to each other through Redis. One connection listens and one speaks.
//! The caller opens a new channel after any failure. The caller also sets all time limits, except for the opening.

use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::cmd;
use tokio::time::timeout;

use super::{CONNECT_LIMIT, Settings, connection, explain};

/// Both connections. With a Cluster they lead to one of its nodes, which passes messages on to all others.
pub struct Channel {
    name: String,
    speaking: MultiplexedConnection,
    listening: PubSubStream,
}

/// Redis did not answer, or not in time. The text is for the log, and holds no password.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ChannelFailure(String);

impl Channel {
    /// Listens to the channel with this name, under the prefix of all keys. `attempt` counts the attempts: each begins
    /// with another Sentinel or node.
    ///
    /// # Errors
    ///
    /// See [`ChannelFailure`].
    pub async fn open(settings: &Settings, name: &str, attempt: usize) -> Result<Self, ChannelFailure> {
        let name = format!("{}{name}", settings.rules.prefix);
        let opening = async {
            let client = connection::client(&settings.target, settings.authority.as_deref(), attempt).await?;
            let mut listening = client.get_async_pubsub().await?;
            listening.subscribe(&name).await?;
            let speaking = client.get_multiplexed_async_connection_with_config(&connection::unlimited()).await?;
            Ok(Self { name: name.clone(), speaking, listening: listening.into_on_message() })
        };
        match timeout(CONNECT_LIMIT, opening).await {
            Ok(opened) => opened.map_err(|error| ChannelFailure(explain(&error))),
            Err(_) => Err(ChannelFailure("no answer in time".to_owned())),
        }
    }

    /// A speaker on this channel. All speakers share a connection.
    pub fn speaker(&self) -> Speaker {
        Speaker { name: self.name.clone(), connection: self.speaking.clone() }
    }

    /// The next message; `None` if the connection has ended.
    pub async fn heard(&mut self) -> Option<Vec<u8>> {
        self.listening.next().await.map(|message| message.get_payload_bytes().to_vec())
    }
}

/// Speaks on a channel.
pub struct Speaker {
    name: String,
    connection: MultiplexedConnection,
}

impl Speaker {
    /// Sends a message to all listeners.
    ///
    /// # Errors
    ///
    /// See [`ChannelFailure`].
    pub async fn say(&mut self, message: &[u8]) -> Result<(), ChannelFailure> {
        let said = cmd("PUBLISH").arg(&self.name).arg(message).query_async::<()>(&mut self.connection).await;
        said.map_err(|error| ChannelFailure(explain(&error)))
    }
}
