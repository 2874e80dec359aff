//! `wasmtime`: a call into a module in this process; the payload is copied into its memory, and its answer out of it.

use wasmtime::{Engine, Instance, Memory, Module, Store, TypedFunc};

use crate::cell::{Cell, Round};
use crate::client::{Client, one_by_one};
use crate::taker::Taker;
use crate::{Result, payload};

/// Looks at every word but the first, and copies the payload from 0 to 1 MiB. Answers 1 if a word is not sevens.
const ECHO: &str = r#"(module
  (memory (export "memory") 32)
  (func (export "call") (param $size i32) (result i32) (local $at i32)
    (local.set $at (i32.const 8))
    (block $done (loop $words
      (br_if $done (i32.ge_u (local.get $at) (local.get $size)))
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0x0707070707070707))
        (then (return (i32.const 1))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br $words)))
    (memory.copy (i32.const 1048576) (i32.const 0) (local.get $size))
    (i32.const 0)))"#;

pub(crate) struct Wasm {
    store: Store<()>,
    memory: Memory,
    call: TypedFunc<i32, i32>,
}

impl Wasm {
    pub(crate) fn start() -> Result<Self> {
        let engine = Engine::default();
        let module = Module::new(&engine, ECHO).map_err(|e| e.to_string())?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).map_err(|e| e.to_string())?;
        let memory = instance.get_memory(&mut store, "memory").ok_or("no memory")?;
        let call = instance.get_typed_func(&mut store, "call").map_err(|e| e.to_string())?;
        Ok(Self { store, memory, call })
    }
}

impl Client for Wasm {
    fn server(&self) -> Option<u32> {
        None
    }

    fn refuses(&self, cell: &Cell) -> Option<String> {
        (cell.in_flight > 1).then(|| "synchronous: one call at a time".into())
    }

    fn round(&mut self, round: &Round, taker: &mut Taker) -> Result<()> {
        let size = round.cell.size;
        let length = i32::try_from(size).map_err(|e| e.to_string())?;
        let (mut message, mut answer) = (payload::fresh(size), vec![0; size]);
        let Self { store, memory, call } = self;
        one_by_one(taker, |number| {
            payload::stamp(&mut message, number);
            memory.write(&mut *store, 0, &message).map_err(|e| e.to_string())?;
            let wrong = call.call(&mut *store, length).map_err(|e| e.to_string())?;
            memory.read(&mut *store, payload::MAX, &mut answer).map_err(|e| e.to_string())?;
            match payload::check(&answer, size) {
                Some(found) if found == number && wrong == 0 => Ok(()),
                found => Err(format!("call {number} came back as {found:?}")),
            }
        })
    }
}
