//! TODO
use crate::console::{Console, Failure};
pub(crate) fn up(_console: &Console) -> Result<(), Failure> {
    Ok(())
}
