//! The program as users see it: the real binary, each test with a home directory and ports of its own.
#![cfg(unix)]

mod program;

mod auth;
mod bus;
mod connect;
mod connect_kill;
mod demo;
mod examples;
mod keys;
mod kv;
mod kv_kill;
mod log;
mod log_kill;
mod publish_subscribe;
mod requests;
mod security;
mod serve;
mod task;
mod task_kill;
mod task_server_kill;
mod task_stop;
