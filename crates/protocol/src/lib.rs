//! duo-protocol
