//! What the tests stand on.

pub mod authority;
pub mod collector;
pub mod encrypted;
pub mod endpoints;
pub mod eventstream;
pub mod issuer;
pub mod raw;
pub mod recorder;
pub mod upstream;
pub mod world;

pub use authority::Authority;
pub use endpoints::{Endpoint, Model, endpoints};
pub use issuer::{Issuer, Key};
pub use raw::{Raw, Step};
pub use upstream::{Script, Upstream};
pub use world::{World, claims, config_folder};
