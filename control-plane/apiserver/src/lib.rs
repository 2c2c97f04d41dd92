//! The API: requests, authentication, authorisation, admission, the registry and the watch cache.
