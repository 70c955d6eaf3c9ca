//! duo-core
