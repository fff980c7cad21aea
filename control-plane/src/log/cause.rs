//! Why something was revoked.

/// The entrance that revoked something, and its caller; kept with each revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// `POST /api/v2/logout`, by the token's owner.
    Logout,
    /// `POST /api/v2/logout` with `scope=session`, by the token's owner.
    LogoutSession,
    /// `POST /api/v2/logout` with `scope=others`, by the token's owner.
    LogoutOthers,
    /// `POST /api/v2/logout-all-device`, by the owner of one of the tokens.
    LogoutAllDevice,
    /// `POST /api/v2/lgt-all`, by an application.
    LgtAll,
    /// `curfew adopt`: the token was blocked in another application's table.
    Adopted,
}

impl Cause {
    /// The stored reason.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::LogoutSession => "logout_session",
            Self::LogoutOthers => "logout_others",
            Self::LogoutAllDevice => "logout_all_device",
            Self::LgtAll => "lgt_all",
            Self::Adopted => "adopted",
        }
    }

    /// The stored actor.
    pub const fn actor(self) -> &'static str {
        match self {
            Self::Logout | Self::LogoutSession | Self::LogoutOthers | Self::LogoutAllDevice => "user",
            Self::LgtAll => "app",
            Self::Adopted => "operator",
        }
    }
}
