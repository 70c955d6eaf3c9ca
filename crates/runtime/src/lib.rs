//! duo-runtime
