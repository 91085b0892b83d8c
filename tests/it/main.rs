//! The program from outside, and the laws every method keeps.

mod changes;
mod compare;
mod crash;
mod laws;
mod mistakes;
mod program;
mod share;
mod whole;
