//! The program from outside, and the laws every method keeps.

mod changes;
mod command;
mod compare;
mod crash;
mod edge;
mod guide;
mod images;
mod laws;
mod mistakes;
mod program;
mod report;
mod share;
mod trouble;
mod whole;
