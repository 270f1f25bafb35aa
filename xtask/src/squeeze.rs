//! Makes a module smaller without changing what it does: functions that are the same are there once, and
//! locals that are used often have small numbers.
//!
//! Both are what wasm-opt does too, which would have to be installed. What they are worth is in
//! docs/decisions/0018-size-of-the-browser-client.md.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::convert::Infallible;

use wasm_encoder::reencode::{self, Error, Reencode, utils};
use wasm_encoder::{CodeSection, Function, FunctionSection, Instruction, Module};
use wasmparser::{FunctionBody, FunctionSectionReader, Operator, Parser, Payload};

use crate::process::Result;

/// The module, squeezed.
pub(crate) fn squeeze(module: &[u8]) -> Result<Vec<u8>> {
    let mut module = rewrite(module, Sorter::new(&Outline::of(module)?))?;
    // Those that call functions that were the same may be the same now.
    loop {
        let merger = Merger::new(&Outline::of(&module)?);
        if merger.kept.iter().all(|kept| *kept) {
            return Ok(module);
        }
        module = rewrite(&module, merger)?;
    }
}

fn rewrite(module: &[u8], mut pass: impl Reencode<Error = Infallible>) -> Result<Vec<u8>> {
    let mut out = Module::new();
    pass.parse_core_module(&mut out, Parser::new(0), module)
        .map_err(|error| format!("the module cannot be written anew: {error}"))?;
    Ok(out.finish())
}

/// What the passes look at first.
#[derive(Default)]
struct Outline<'a> {
    /// How many parameters each type has.
    params: Vec<u32>,
    /// How many functions come from outside; they have the first numbers.
    imported: u32,
    /// The type of each function of its own.
    types: Vec<u32>,
    bodies: Vec<FunctionBody<'a>>,
}

impl<'a> Outline<'a> {
    fn of(module: &'a [u8]) -> Result<Self> {
        let mut outline = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(section) => {
                    for function in section.into_iter_err_on_gc_types() {
                        outline.params.push(u32::try_from(function?.params().len())?);
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let is_function = matches!(import?.ty, wasmparser::TypeRef::Func(_));
                        outline.imported += u32::from(is_function);
                    }
                }
                Payload::FunctionSection(section) => {
                    outline.types = section.into_iter().collect::<std::result::Result<_, _>>()?;
                }
                Payload::CodeSectionEntry(body) => outline.bodies.push(body),
                _ => {}
            }
        }
        if outline.types.len() == outline.bodies.len() {
            Ok(outline)
        } else {
            Err("the module has functions without code".into())
        }
    }
}

/// Numbers locals by how often they are used, within each function.
struct Sorter {
    /// How many parameters the functions have; these stay what they are.
    params: std::vec::IntoIter<u32>,
    /// The new number of each local of the present function.
    locals: Vec<u32>,
}

impl Sorter {
    fn new(outline: &Outline<'_>) -> Self {
        let of = |ty: &u32| outline.params.get(*ty as usize).copied().unwrap_or_default();
        let params: Vec<u32> = outline.types.iter().map(of).collect();
        Self { params: params.into_iter(), locals: Vec::new() }
    }

    fn local(&self, old: u32) -> u32 {
        self.locals[old as usize]
    }
}

impl Reencode for Sorter {
    type Error = Infallible;

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> std::result::Result<(), Error> {
        let params = self.params.next().unwrap_or_default();
        let mut types = Vec::new();
        for run in body.get_locals_reader()? {
            let (count, ty) = run?;
            types.extend(std::iter::repeat_n(ty, count as usize));
        }
        let mut uses = vec![0_u32; params as usize + types.len()];
        for operator in body.get_operators_reader()? {
            if let Operator::LocalGet { local_index }
            | Operator::LocalSet { local_index }
            | Operator::LocalTee { local_index } = operator?
            {
                uses[local_index as usize] += 1;
            }
        }
        let mut order: Vec<usize> = (0..types.len()).collect();
        order.sort_by_key(|local| Reverse(uses[params as usize + local]));
        self.locals = (0..params).chain(types.iter().map(|_| 0)).collect();
        for (new, old) in (params..).zip(&order) {
            self.locals[params as usize + old] = new;
        }
        let sorted = order.iter().map(|local| reencode::RoundtripReencoder.val_type(types[*local]));
        let mut function =
            Function::new_with_locals_types(sorted.collect::<std::result::Result<Vec<_>, _>>()?);
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            function.instruction(&self.parse_instruction(&mut reader)?);
        }
        code.function(&function);
        Ok(())
    }

    fn instruction<'a>(
        &mut self,
        operator: Operator<'a>,
    ) -> std::result::Result<Instruction<'a>, Error> {
        Ok(match operator {
            Operator::LocalGet { local_index } => Instruction::LocalGet(self.local(local_index)),
            Operator::LocalSet { local_index } => Instruction::LocalSet(self.local(local_index)),
            Operator::LocalTee { local_index } => Instruction::LocalTee(self.local(local_index)),
            other => return utils::instruction(self, other),
        })
    }
}

/// Keeps the first of functions with the same type and code.
struct Merger {
    /// The new number of each function.
    functions: Vec<u32>,
    /// For each function of the module's own, whether it stays.
    kept: Vec<bool>,
    /// How many bodies have come by.
    seen: usize,
}

impl Merger {
    fn new(outline: &Outline<'_>) -> Self {
        let mut functions: Vec<u32> = (0..outline.imported).collect();
        let mut kept = Vec::new();
        let mut first = HashMap::new();
        let mut next = outline.imported;
        for (ty, body) in outline.types.iter().zip(&outline.bodies) {
            let number = *first.entry((ty, body.as_bytes())).or_insert(next);
            functions.push(number);
            kept.push(number == next);
            next += u32::from(number == next);
        }
        Self { functions, kept, seen: 0 }
    }
}

impl Reencode for Merger {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> std::result::Result<u32, Error> {
        Ok(self.functions[function as usize])
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> std::result::Result<(), Error> {
        for (ty, kept) in section.into_iter().zip(self.kept.clone()) {
            let ty = self.type_index(ty?)?;
            if kept {
                functions.function(ty);
            }
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> std::result::Result<(), Error> {
        self.seen += 1;
        if self.kept[self.seen - 1] { utils::parse_function_body(self, code, body) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_encoder::{ExportKind, ExportSection, TypeSection, ValType};

    /// A module of functions from a number to a number, each exported by its place.
    fn module(functions: &[Function]) -> Vec<u8> {
        let (mut types, mut section) = (TypeSection::new(), FunctionSection::new());
        let (mut exports, mut code) = (ExportSection::new(), CodeSection::new());
        types.ty().function([ValType::I32], [ValType::I32]);
        for (at, function) in (0..).zip(functions) {
            section.function(0);
            exports.export(&format!("f{at}"), ExportKind::Func, at);
            code.function(function);
        }
        let mut module = Module::new();
        module.section(&types).section(&section).section(&exports).section(&code);
        module.finish()
    }

    fn calling(callee: u32) -> Function {
        let mut function = Function::new([]);
        function.instructions().local_get(0).call(callee).end();
        function
    }

    fn exported(module: &[u8]) -> Vec<u32> {
        let sections =
            Parser::new(0).parse_all(module).map(|payload| payload.expect("it is valid"));
        let exports = sections.filter_map(|payload| match payload {
            Payload::ExportSection(section) => Some(section),
            _ => None,
        });
        exports.flatten().map(|export| export.expect("it is valid").index).collect()
    }

    #[test]
    fn the_same_functions_become_one_and_so_do_their_callers() {
        let mut same = Function::new([]);
        same.instructions().local_get(0).end();
        let mut other = Function::new([]);
        other.instructions().i32_const(7).end();
        let functions = [same.clone(), same, other, calling(0), calling(1), calling(2)];
        let squeezed = squeeze(&module(&functions)).expect("it is a module");
        assert_eq!(exported(&squeezed), [0, 0, 1, 2, 2, 3]);
        assert_eq!(Outline::of(&squeezed).expect("it is a module").bodies.len(), 4);
    }

    #[test]
    fn locals_used_often_come_first_and_keep_their_types() {
        let mut function = Function::new([(1, ValType::I64), (2, ValType::I32)]);
        let mut code = function.instructions();
        code.i64_const(5).local_set(1).local_get(0).local_tee(3).local_set(2);
        code.local_get(3).local_set(3).local_get(2).end();
        let squeezed = squeeze(&module(&[function])).expect("it is a module");
        let mut expected = Function::new([(2, ValType::I32), (1, ValType::I64)]);
        let mut code = expected.instructions();
        code.i64_const(5).local_set(3).local_get(0).local_tee(1).local_set(2);
        code.local_get(1).local_set(1).local_get(2).end();
        assert_eq!(squeezed, module(&[expected]));
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(squeeze(b"nothing").is_err());
    }
}
