//! duo-operator
