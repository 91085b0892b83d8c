//! The program from outside, and the laws every method keeps.

mod audit;
mod changes;
mod command;
mod compare;
mod corruption;
mod crash;
mod edge;
mod features;
mod folds;
mod guide;
mod images;
mod laws;
mod mistakes;
mod outside;
mod program;
mod protocols;
mod ray;
mod remote;
mod report;
mod server;
mod share;
mod slurm;
mod snapshot;
mod text;
mod trouble;
mod whole;
