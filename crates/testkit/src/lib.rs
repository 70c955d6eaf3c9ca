//! duo-testkit
