//! The program from outside, and the laws every method keeps.

mod changes;
mod crash;
mod laws;
mod mistakes;
mod program;
mod report;
mod share;
mod whole;
