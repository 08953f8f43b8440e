//! Faults of servers and of the network. Used by the systems.

use std::fmt;

use crate::network::NetworkFault;

/// A fault of Redis or Valkey, or of the network in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisFault {
    /// The replica becomes the leader, and the leader its replica. The proxy then leads to the new
    /// leader.
    Failover,
    /// A fault of the network in front of the server.
    Network(NetworkFault),
    /// The server closes all connections.
    CloseConnections,
    /// The server closes idle connections after a second.
    IdleTimeout,
    /// The server shuts down and starts again.
    Restart,
    /// The server is killed and starts again.
    Kill,
    /// The server process is suspended.
    Pause,
    /// The server is blocked by a slow command.
    SlowCommand,
    /// A script of another client runs until it is killed: `BUSY`.
    BusyScript,
    /// Out of memory: `OOM`.
    FullMemory,
    /// The disk is full: `MISCONF`.
    FullDisk,
    /// Too few replicas: `NOREPLICAS`.
    FewReplicas,
    /// The server forgets its scripts.
    ScriptFlush,
    /// The server loses all data. A cache may do so.
    Flush,
    /// The server evicts some keys. A cache may do so.
    Evict,
    /// The clock of the server steps forward.
    ClockAhead,
    /// The clock of the server steps back.
    ClockBehind,
}

impl RedisFault {
    /// The faults that a store of record survives without loss.
    pub const OF_STORE: &[Self] = &[
        Self::Failover,
        Self::Network(NetworkFault::Silence),
        Self::Network(NetworkFault::Stall),
        Self::Network(NetworkFault::Cut),
        Self::CloseConnections,
        Self::IdleTimeout,
        Self::Restart,
        Self::Kill,
        Self::Pause,
        Self::SlowCommand,
        Self::BusyScript,
        Self::FullMemory,
        Self::FullDisk,
        Self::FewReplicas,
        Self::ScriptFlush,
    ];

    /// The faults of servers with a clock of their own.
    pub const OF_CLOCK: &[Self] = &[Self::ClockAhead, Self::ClockBehind];

    /// The faults that only a cache may have.
    pub const OF_CACHE: &[Self] = &[Self::Flush, Self::Evict];
}

/// A fault of a Redis cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterFault {
    /// A slot moves to another node and back, while its keys are in use.
    MovedSlot,
    /// A node is killed and starts again.
    Kill,
    /// A node is suspended.
    Pause,
    /// Each node closes all connections.
    CloseConnections,
    /// Each node forgets its scripts.
    ScriptFlush,
}

impl ClusterFault {
    /// All faults.
    pub const ALL: &[Self] =
        &[Self::MovedSlot, Self::Kill, Self::Pause, Self::CloseConnections, Self::ScriptFlush];
}

/// A fault of PostgreSQL, or of the network in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostgresFault {
    /// The server becomes a standby. It is promoted at the end of the fault.
    Standby,
    /// A fault of the network in front of the server.
    Network(NetworkFault),
    /// The server closes all connections.
    CloseConnections,
    /// The server closes idle connections.
    IdleTimeout,
    /// The server shuts down and starts again.
    Restart,
    /// The server is killed and starts again.
    Kill,
    /// Other code of the application runs `DISCARD ALL` on the pool.
    DiscardAll,
    /// The role gets a different default isolation level, which applies to new connections.
    Isolation,
    /// Transactions are read-only by default.
    ReadOnly,
    /// The server cancels statements after a millisecond.
    StatementTimeout,
    /// Another client locks the rows of some sessions.
    RowLocks,
    /// Another client locks the table.
    TableLock,
    /// The clock of the server steps forward.
    ClockAhead,
    /// The clock of the server steps back.
    ClockBehind,
}

impl PostgresFault {
    /// All faults.
    pub const ALL: &[Self] = &[
        Self::Standby,
        Self::Network(NetworkFault::Silence),
        Self::Network(NetworkFault::Stall),
        Self::Network(NetworkFault::Cut),
        Self::CloseConnections,
        Self::IdleTimeout,
        Self::Restart,
        Self::Kill,
        Self::DiscardAll,
        Self::Isolation,
        Self::ReadOnly,
        Self::StatementTimeout,
        Self::RowLocks,
        Self::TableLock,
        Self::ClockAhead,
        Self::ClockBehind,
    ];
}

/// A fault of MariaDB or MySQL, or of the network in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MySqlFault {
    /// A fault of the network in front of the server.
    Network(NetworkFault),
    /// The server closes all connections.
    CloseConnections,
    /// The server closes idle connections after a second.
    IdleTimeout,
    /// The server shuts down and starts again.
    Restart,
    /// The server is killed and starts again.
    Kill,
    /// The server process is suspended.
    Pause,
    /// New connections have a different isolation level by default.
    Isolation,
    /// The server refuses writes, as a replica does.
    ReadOnly,
    /// Another client locks the rows of some sessions.
    RowLocks,
    /// Another client locks the table.
    TableLock,
    /// The clock of the server steps forward.
    ClockAhead,
    /// The clock of the server steps back.
    ClockBehind,
}

impl MySqlFault {
    /// All faults.
    pub const ALL: &[Self] = &[
        Self::Network(NetworkFault::Silence),
        Self::Network(NetworkFault::Stall),
        Self::Network(NetworkFault::Cut),
        Self::CloseConnections,
        Self::IdleTimeout,
        Self::Restart,
        Self::Kill,
        Self::Pause,
        Self::Isolation,
        Self::ReadOnly,
        Self::RowLocks,
        Self::TableLock,
        Self::ClockAhead,
        Self::ClockBehind,
    ];
}

/// A fault of a SQLite file, caused by another connection to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqliteFault {
    /// Another connection holds the only lock for writes.
    WriteLock,
    /// Another connection keeps a read transaction open, so that the write-ahead log cannot
    /// restart.
    LongRead,
    /// Another connection moves the write-ahead log into the file, and truncates the log.
    Checkpoint,
}

impl SqliteFault {
    /// All faults.
    pub const ALL: &[Self] = &[Self::WriteLock, Self::LongRead, Self::Checkpoint];
}

/// A fault of a system.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A fault of Redis or Valkey.
    Redis(RedisFault),
    /// A fault of a Redis cluster.
    Cluster(ClusterFault),
    /// A fault of PostgreSQL.
    Postgres(PostgresFault),
    /// A fault of MariaDB or MySQL.
    MySql(MySqlFault),
    /// A fault of a SQLite file.
    Sqlite(SqliteFault),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(fault) => write!(f, "redis {fault:?}"),
            Self::Cluster(fault) => write!(f, "cluster {fault:?}"),
            Self::Postgres(fault) => write!(f, "postgres {fault:?}"),
            Self::MySql(fault) => write!(f, "mysql {fault:?}"),
            Self::Sqlite(fault) => write!(f, "sqlite {fault:?}"),
        }
    }
}
