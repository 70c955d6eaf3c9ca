//! duo-gateway-config
