//! The REST API over real sockets, on a device whose flash is a file.

mod attacks;
mod rig;
mod routes;
