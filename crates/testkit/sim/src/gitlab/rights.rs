//! Who may do what: the rights of GitLab's global policy that bear on Duo Self-Hosted.
//!
//! Pure functions over the state and the caller. Facts of GitLab 18.9 and 19.x.

use super::state::{State, Token, User};

/// GitLab's one sentence for everything it does not want to explain.
pub const ACCESS_ERROR: &str = "The resource that you are attempting to access does not exist or you don't have \
                                permission to perform this action";

/// Who sent a request.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The signed-in user; none is anonymous.
    pub user: Option<User>,
    /// The token used.
    pub token: Option<Token>,
}

impl Caller {
    /// A signed-in instance administrator.
    pub fn is_admin(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.admin)
    }

    /// Whether the token carries a scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.token.as_ref().is_some_and(|token| token.scopes.iter().any(|held| held == scope))
    }
}

/// "Self-hosted Agent Platform allowed".
///
/// Offline: needs its add-on. Online: 18.9 with usage billing switched on yes, else Duo Enterprise and accepted
/// terms; 19.x always.
pub fn agent_platform_allowed(state: &State) -> bool {
    if state.is_offline() {
        return state.has_add_on("self_hosted_dap");
    }
    state.instance.version.at_least(19, 0)
        || state.instance.dap_per_request_billing
        || (state.has_add_on("duo_enterprise") && state.terms_accepted)
}

/// May manage self-hosted models and their settings.
pub fn manage_self_hosted_models(state: &State, caller: &Caller) -> bool {
    let agent_platform = agent_platform_allowed(state);
    let any_duo = ["duo_core", "code_suggestions", "duo_enterprise"].iter().any(|name| state.has_add_on(name));
    caller.is_admin()
        && state.active_license().is_some_and(|license| license.has_self_hosted_models())
        && (any_duo || agent_platform)
        && !state.instance.amazon_q
        && (state.has_add_on("duo_enterprise") || agent_platform)
}

/// May choose GitLab-managed models for the instance; Amazon Q and offline licences turn those off.
pub fn manage_instance_model_selection(state: &State, caller: &Caller) -> bool {
    caller.is_admin() && state.active_license().is_some() && !state.is_offline() && !state.instance.amazon_q
}

/// May switch Duo Core and the Duo CLI.
pub fn update_duo_core_setting(state: &State, caller: &Caller) -> bool {
    caller.is_admin() && state.active_license().is_some()
}

/// May this person use the classic Duo features: needs Duo Enterprise (or Duo Pro) and a seat.
pub fn may_use_code_suggestions(state: &State, user: &User) -> bool {
    license_includes_code_suggestions(state) && user.duo_seat && !user.blocked
}

/// Whether licence and add-ons include Code Suggestions at all.
pub fn license_includes_code_suggestions(state: &State) -> bool {
    state.active_license().is_some_and(|license| license.has_self_hosted_models())
        && ["duo_core", "code_suggestions", "duo_enterprise"].iter().any(|name| state.has_add_on(name))
}
