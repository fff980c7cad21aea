//! The other control planes: their rows in SQL, this one's own row, and the messages between them through Redis.

pub(super) mod company;
pub(super) mod gossip;
pub(super) mod message;
pub(super) mod outbox;
pub(super) mod own_row;
pub(super) mod row_state;
pub(super) mod rows;
