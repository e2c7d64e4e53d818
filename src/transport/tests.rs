//! What becomes of requests: on real sockets.
