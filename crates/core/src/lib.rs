//! Pure decisions of the operator: what is valid, what should exist, what differs, what to do, what to report.
//!
//! Everything here is a function from data to data. It knows no Kubernetes client, no GitLab client, no runtime and no
//! clock; observed state comes in as the plain types of [`observed`], time as an argument.

pub mod admission;
pub mod changes;
pub mod claims;
pub mod conditions;
pub mod connection;
pub mod contest;
pub mod deletion;
pub mod dependents;
pub mod desired;
pub mod durations;
pub mod formers;
pub mod health;
pub mod implementation;
pub mod inputs;
pub mod labels;
pub mod listener;
pub mod observed;
pub mod ownership;
pub mod plan;
pub mod ready;
pub mod rights;
pub mod scale;
pub mod selector;
pub mod serving;
pub mod shards;
pub mod signing;
pub mod tiers;
pub mod url_rules;
pub mod validate;
