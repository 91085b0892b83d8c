//! The program from outside, and the laws every method keeps.

mod changes;
mod crash;
mod guide;
mod laws;
mod mistakes;
mod program;
mod share;
mod whole;
