//! Checks Bicep files where the compiler cannot be had, and draws what they deploy.
//!
//! Three steps, each with its own mistakes to find:
//!
//! 1. `syntax` reads a file into declarations and expressions;
//! 2. `symbols` and `modules` look at names: undefined, unused, unknown parameters, missing files;
//! 3. `deployment` evaluates the files with parameters, as a deployment would, into the list of
//!    resources, and `types` holds each of them against the official types in `infra/types/`.
//!
//! What a resource answers only after its deployment (a URL, an identity's id) is a text such as
//! `⟨account st1.properties.primaryEndpoints.blob⟩` that goes through expressions unchanged.
//!
//! This is no compiler. It does not type-check expressions, knows only the functions in `functions`,
//! and cannot know what Azure will accept.

#![doc(test(attr(deny(warnings))))]

pub mod ast;
mod builtin;
pub mod consistency;
pub mod deployment;
pub mod documents;
mod evaluate;
mod identity;
mod lower;
pub mod modules;
pub mod picture;
mod problem;
pub mod repository;
pub mod symbols;
pub mod syntax;
mod text;
pub mod types;

pub use problem::Problem;
