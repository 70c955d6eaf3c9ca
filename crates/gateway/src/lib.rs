//! duo-gateway
