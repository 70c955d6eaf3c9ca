//! What the simulated model servers share: listening, the journal, faults on demand, scripted answers, and the
//! control plane under `/_sim/`. It must not know any model API's format.

pub mod control;
pub mod faults;
pub mod journal;
pub mod pace;
pub mod script;
pub mod secret;
pub mod serve;

pub use faults::{Fault, Faults};
pub use journal::{Call, Credential, Journal, Outcome};
pub use script::Script;
pub use secret::Secret;
pub use serve::Server;

/// The page that a proxy in front of a model server shows when the server is gone.
pub(crate) const HTML_PAGE: &str =
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><h1>502 Bad Gateway</h1></body>\r\n</html>\r\n";

/// Locks a mutex whose holder may have panicked: a simulator's state stays readable for the test that reports it.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
