//! duo-sim
