//! Which roles a process runs.

use std::{fmt, str::FromStr};

/// One of the jobs of a process; each may run many times on one Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// What the marketing app touches.
    Api,
    /// What recipients touch.
    Track,
    /// The engine that submits.
    Dispatch,
    /// The mailbox reader.
    Reports,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Api, Self::Track, Self::Dispatch, Self::Reports];

    /// Its name on the command line and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Track => "track",
            Self::Dispatch => "dispatch",
            Self::Reports => "reports",
        }
    }
}

/// At least one role, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles(Vec<Role>);

/// A text that names no roles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role; there are api, track, dispatch and reports, separated by commas")]
pub struct RolesError(String);

impl Roles {
    /// All of them.
    pub fn all() -> Self {
        Self(Role::ALL.to_vec())
    }

    /// Whether `role` is among them.
    pub fn contains(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|role| role.name().to_owned()).collect()
    }
}

impl FromStr for Roles {
    type Err = RolesError;

    fn from_str(text: &str) -> Result<Self, RolesError> {
        let mut roles = Vec::new();
        for name in text.split(',').map(str::trim) {
            let role = Role::ALL.into_iter().find(|role| role.name() == name);
            roles.push(role.ok_or_else(|| RolesError(name.chars().take(40).collect()))?);
        }
        roles.sort();
        roles.dedup();
        Ok(Self(roles))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_named_in_any_order_and_once() {
        let roles: Roles = "reports, api,api".parse().unwrap();
        assert_eq!(roles.to_string(), "api,reports");
        assert!(roles.contains(Role::Api) && !roles.contains(Role::Track));
    }

    #[test]
    fn a_text_that_names_no_role_is_refused() {
        for text in ["", "api,", "mailer"] {
            assert!(text.parse::<Roles>().is_err(), "{text}");
        }
    }
}
