//! What can go wrong with Postgres, as the callers tell it apart.

/// An error of `store`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Postgres can't be reached, is starting or shutting down, or no connection was free in time. Worth trying again.
    #[error("Postgres can't be reached: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// Postgres went away while it committed: whether the transaction stands is not known.
    #[error("Postgres went away while it committed: {0}")]
    InDoubt(#[source] sqlx::Error),
    /// A unique or foreign key, or a CHECK, refused the rows; the constraint's name tells which.
    #[error("constraint {constraint}: {source}")]
    Constraint {
        /// Name in the schema, such as `recipients_workspace_id_address_key_key`.
        constraint: String,
        /// Whether a unique key was violated.
        unique: bool,
        /// What Postgres said.
        #[source]
        source: sqlx::Error,
    },
    /// Two transactions stood in each other's way (deadlock or serialisation); worth trying again at once.
    #[error("transactions collided: {0}")]
    Collision(#[source] sqlx::Error),
    /// A stored value is not one of ours: a state nobody knows, an id of another kind.
    #[error("unexpected value in {0}")]
    Corrupt(&'static str),
    /// The schema could not be brought to this version.
    #[error("migration failed: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// Anything else: a fault of ours.
    #[error(transparent)]
    Other(sqlx::Error),
}

impl StoreError {
    /// Postgres didn't answer within the caller's own limit.
    pub fn timed_out() -> Self {
        Self::Unavailable(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))
    }

    /// Whether this is the violation of the constraint `name`.
    pub fn violates(&self, name: &str) -> bool {
        matches!(self, Self::Constraint { constraint, .. } if constraint == name)
    }

    /// Whether Postgres was away: answered by 503 at the edge, waited out by the loops.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::InDoubt(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default().into_owned();
                // https://www.postgresql.org/docs/15/errcodes-appendix.html
                match code.as_str() {
                    "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "53300" | "25006" => Self::Unavailable(error),
                    "40001" | "40P01" | "55P03" => Self::Collision(error),
                    _ if code.starts_with("08") => Self::Unavailable(error),
                    _ if code.starts_with("23") => Self::Constraint {
                        constraint: database.constraint().unwrap_or_default().to_owned(),
                        unique: code == "23505",
                        source: error,
                    },
                    _ => Self::Other(error),
                }
            }
            _ => Self::Other(error),
        }
    }
}
