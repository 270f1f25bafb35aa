//! Tests of the session against a scripted server.
