//! What is kept of a service is bounded, and nothing is left of those that are gone.

use std::alloc::System;
use std::sync::{Mutex, PoisonError};

use cap::Cap;
use xds::source::dir::{self, DirSource};
use xds::translate::{Options, Translator};
use xds::{Faults, ObjectEvent};

mod knative;

/// Counts the bytes that are asked for; allocators round up.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// One test at a time, as all share one count.
static ALONE: Mutex<()> = Mutex::new(());

const SERVICES: usize = 5_000;

/// Enough to see whether something is left.
const FEWER: usize = 1_000;

/// What the translator may keep of a service, with the texts and routes that it shares with tables made of its Updates, and
/// the 24 bytes of its status.
const TRANSLATOR_LIMIT: usize = 435;

/// What the directory source may keep of a service.
const DIRECTORY_LIMIT: usize = 235;

fn feed(translator: &mut Translator, services: std::ops::Range<usize>, version: u16) {
    for n in services {
        for object in knative::objects(n, version) {
            translator.accept(ObjectEvent::Applied(object));
        }
        if n % 100 == 99 {
            translator.flush();
        }
    }
    translator.flush();
}

fn remove(translator: &mut Translator, services: std::ops::Range<usize>) {
    for n in services {
        for key in knative::keys(n) {
            translator.accept(ObjectEvent::Deleted(key));
        }
        if n % 100 == 99 {
            translator.flush();
        }
    }
    translator.flush();
}

/// A translator that has seen a service come and go, so that what is made once is there.
fn warm() -> Translator {
    let mut translator = Translator::new(Options::default(), Faults::default());
    translator.accept(ObjectEvent::Synced);
    feed(&mut translator, 0..100, 1);
    remove(&mut translator, 0..100);
    translator
}

#[test]
fn the_translator_keeps_few_bytes_of_a_service() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut translator = warm();
    let before = MEMORY.allocated();
    feed(&mut translator, 0..SERVICES, 1);
    let each = (MEMORY.allocated() - before) / SERVICES;
    println!("the translator keeps {each} bytes of a service");
    assert!(each <= TRANSLATOR_LIMIT, "{each} bytes of a service");
}

#[test]
fn a_changed_service_takes_the_same_room() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut translator = warm();
    feed(&mut translator, 0..FEWER, 1);
    let before = MEMORY.allocated();
    for version in 2..6 {
        feed(&mut translator, 0..FEWER, version);
    }
    let grown = MEMORY.allocated().saturating_sub(before) / FEWER;
    assert!(grown <= 24, "{grown} bytes more of each service");
}

#[test]
fn nothing_is_left_of_services_that_are_gone() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut translator = warm();
    let before = MEMORY.allocated();
    feed(&mut translator, 0..FEWER, 1);
    let full = MEMORY.allocated();
    remove(&mut translator, 0..FEWER);
    let left = MEMORY.allocated().saturating_sub(before);
    // The tables of numbers keep their size.
    assert!(left < (full - before) / 5, "{left} bytes are left of {}", full - before);
    feed(&mut translator, FEWER..2 * FEWER, 1);
    let again = MEMORY.allocated();
    assert!(again < full + (full - before) / 20, "{again} bytes the second time, {full} the first");
}

#[test]
fn the_directory_source_keeps_few_bytes_of_a_service() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    knative::write(dir.path(), 0..SERVICES).unwrap();
    let before = MEMORY.allocated();
    let mut source = DirSource::open(dir.path(), dir::Options::default(), Faults::default()).unwrap();
    while !runtime.block_on(source.next()).contains(&ObjectEvent::Synced) {}
    let each = (MEMORY.allocated() - before) / SERVICES;
    println!("the directory source keeps {each} bytes of a service");
    assert!(each <= DIRECTORY_LIMIT, "{each} bytes of a service");
}
