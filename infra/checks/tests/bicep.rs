//! The Bicep files of this repository, in every way that they can be deployed.

mod scenarios;

use scenarios::{all, sources};
use softlabel_infra::{modules, repository, symbols};

#[test]
fn every_file_is_bicep() {
    let (sources, problems) = repository::read().unwrap();
    assert_eq!(problems, []);
    assert!(sources.files.len() > 10, "{:?}", sources.files.keys());
}

#[test]
fn names_parameters_and_paths_are_right() {
    let sources = sources();
    let files = sources.files.values();
    let names = files.clone().flat_map(symbols::check);
    let modules = files.flat_map(|file| modules::check(file, &sources.files));
    assert_eq!(names.chain(modules).collect::<Vec<_>>(), []);
}

#[test]
fn every_file_is_used() {
    let sources = sources();
    let modules = sources.files.values().flat_map(|file| &file.modules);
    let used: Vec<_> = modules
        .map(|module| format!("infra/{}", module.path))
        .collect();
    for path in sources
        .files
        .keys()
        .filter(|path| *path != repository::MAIN)
    {
        assert!(used.contains(path), "nothing uses {path}");
    }
}

#[test]
fn every_resource_is_as_its_type_says() {
    let sources = sources();
    let mut problems = Vec::new();
    for scenario in all() {
        for resource in scenario.deploy(&sources).resources {
            let found = sources.types.check(&resource);
            let place = format!("{}:{} {}", resource.path, resource.line, resource.symbol);
            problems.extend(found.into_iter().map(|text| format!("{place}: {text}")));
        }
    }
    problems.sort();
    problems.dedup();
    assert_eq!(problems, [] as [String; 0]);
}
