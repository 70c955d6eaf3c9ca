//! Names of annotations, labels and finalizers that Duo Operator reads or writes.

/// Finalizer on all three kinds: GitLab (and only what is ours there) is cleaned up before the object goes.
pub const FINALIZER: &str = "duo.selfhosted.dev/finalizer";
/// Global id of the object in GitLab that belongs to this resource, e.g. `gid://gitlab/Ai::SelfHostedModel/7`.
/// Written after a create or an adoption; survives a lost status.
pub const EXTERNAL_ID: &str = "duo.selfhosted.dev/external-id";
/// The GitLab that the other marks on this object speak of: its URL, and its instance id once that is known. A model of
/// the same number in another GitLab is somebody else's.
pub const EXTERNAL_INSTANCE: &str = "duo.selfhosted.dev/external-instance";
/// Written before the create call and removed after it: a model of this name that appears in GitLab while the mark
/// stands was made by us, even if the answer was lost. Value: the name that was being created.
pub const CREATE_PENDING: &str = "duo.selfhosted.dev/create-pending";
/// GitLab's Local AI gateway URL from before the operator set its own; put back on deletion. Empty: there was none.
pub const PREVIOUS_GATEWAY_URL: &str = "duo.selfhosted.dev/previous-gateway-url";
/// GitLab's Agent Platform service from before the operator set its own, as JSON with `url`, `secure`, and `ours`: what
/// the operator put there. Put back when it is no longer declared.
pub const PREVIOUS_AGENT_PLATFORM: &str = "duo.selfhosted.dev/previous-agent-platform";
/// On SelfHostedModels whose API key GitLab holds (`implementation: GitLab`): salted SHA-256 of the key that GitLab was
/// given last, so that a changed one is sent again.
pub const API_TOKEN_FINGERPRINT: &str = "duo.selfhosted.dev/api-token-fingerprint";
/// `"true"`: let go of the object at once without touching GitLab.
pub const ABANDON: &str = "duo.selfhosted.dev/abandon";
/// A new value rotates the gateway's signing keys; the previous key stays valid for checking.
pub const ROTATE_SIGNING_KEYS: &str = "duo.selfhosted.dev/rotate-signing-keys";
/// On the operator-owned Secret: the value of [`ROTATE_SIGNING_KEYS`] that was done last.
pub const SIGNING_KEYS_ROTATED: &str = "duo.selfhosted.dev/signing-keys-rotated";
/// On the operator-owned Secret: when that was, RFC 3339. While it stands the validation key is the previous signing
/// key; it goes when no token signed by that one is valid any more.
pub const SIGNING_KEYS_ROTATED_AT: &str = "duo.selfhosted.dev/signing-keys-rotated-at";
/// On gateway pods: touched when a mounted key or setting changed, so that kubelet refreshes the volume at once.
pub const CONFIG_HASH: &str = "duo.selfhosted.dev/config-hash";
/// On AIGateways: the shard of the operator that works on it and on all that belongs to it.
pub const SHARD: &str = "duo.selfhosted.dev/shard";
/// On an operator's Lease: the label selector of the AIGateways that its holder takes; empty: all.
pub const SHARD_SELECTOR: &str = "duo.selfhosted.dev/shard-selector";
/// On an operator's Lease: the namespaces that its holder watches, by commas; empty: all.
pub const SHARD_NAMESPACES: &str = "duo.selfhosted.dev/shard-namespaces";
/// On FeatureAssignments: comma-separated features that this object has set in GitLab, with `:disabled` or `:vendored`
/// after those that it gave no model. Written before the first write to
/// GitLab, so that a feature that is taken out of the spec is unassigned even when the status is lost.
pub const ASSIGNED_FEATURES: &str = "duo.selfhosted.dev/assigned-features";

/// Label with the owning AIGateway's name on every child object.
pub const GATEWAY_LABEL: &str = "duo.selfhosted.dev/aigateway";
/// `app.kubernetes.io/managed-by` of every child object, and the field manager's prefix.
pub const MANAGED_BY: &str = "duo-operator";
