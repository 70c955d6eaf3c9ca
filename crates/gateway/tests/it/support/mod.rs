//! What the tests stand on.

pub mod authority;
pub mod issuer;
pub mod upstream;
pub mod world;

pub use authority::Authority;
pub use issuer::{Issuer, Key};
pub use upstream::{Script, Upstream};
pub use world::{World, claims, config_folder};
