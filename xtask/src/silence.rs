//! Takes the code out of a module that would format text if anything did, or tell of a panic if anybody
//! heard it.
//!
//! Nothing in the browser client formats: it writes its texts by hand, which is smaller. What is left of
//! the standard library's formatting hangs on the texts of panics, which nobody sees in a browser, and
//! stays because the table of functions names it. It can be reached in no other way than by a call of a
//! function of `core::fmt`, so where there is none, none of it ever runs. What a panic does besides its text
//! is to trap, which it does at once instead.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, Function, Module};
use wasmparser::{FunctionBody, KnownCustom, Name, Operator, Parser, Payload, TypeRef};

use crate::process::Result;

/// The module, with functions that trap in place of those that format or panic. An error says which
/// function formats, if one does.
pub(crate) fn silence(module: &[u8]) -> Result<Vec<u8>> {
    let mut pass = Silencer::new(module)?;
    let mut out = Module::new();
    pass.parse_core_module(&mut out, Parser::new(0), module)
        .map_err(|error| format!("the module cannot be written anew: {error}"))?;
    Ok(out.finish())
}

struct Silencer {
    /// For each function of the module's own, whether it formats or panics.
    silent: std::vec::IntoIter<bool>,
}

impl Silencer {
    fn new(module: &[u8]) -> Result<Self> {
        let Named { names, bodies } = Named::of(module)?;
        let own = &names[names.len() - bodies.len()..];
        let silent: Vec<bool> = own.iter().map(|name| formats(name) || panics(name)).collect();
        for ((body, name), _) in bodies.iter().zip(own).zip(&silent).filter(|(_, silent)| !**silent)
        {
            for operator in body.get_operators_reader()? {
                let Operator::Call { function_index } = operator? else { continue };
                let callee = names.get(function_index as usize).copied().unwrap_or_default();
                if formats(callee) {
                    return Err(format!(
                        "{name} formats text, by {callee}: that brings all of `core::fmt`; \
                         write it by hand as its neighbours do"
                    )
                    .into());
                }
            }
        }
        Ok(Self { silent: silent.into_iter() })
    }
}

/// The functions of a module.
struct Named<'a> {
    /// Of all, those from outside first.
    names: Vec<&'a str>,
    /// Of its own.
    bodies: Vec<FunctionBody<'a>>,
}

impl<'a> Named<'a> {
    fn of(module: &'a [u8]) -> Result<Self> {
        let (mut imported, mut bodies, mut named) = (0, Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        imported += usize::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::CodeSectionEntry(body) => bodies.push(body),
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(parts) = section.as_known() {
                        named.extend(parts);
                    }
                }
                _ => {}
            }
        }
        let mut names = vec![""; imported + bodies.len()];
        let mut any = false;
        for part in named {
            let Name::Function(functions) = part? else { continue };
            for naming in functions {
                let naming = naming?;
                let at = names.get_mut(naming.index as usize);
                *at.ok_or("a name of a function that there is not")? = naming.name;
                any = true;
            }
        }
        if any {
            Ok(Self { names, bodies })
        } else {
            Err("the module does not name its functions: something strips it".into())
        }
    }
}

/// Whether a function is one of `core::fmt`'s, or prints something for it, by its mangled name: of the
/// old kind (`…core..fmt..Debug…3fmt…`) or the new (`…4core3fmt…`).
fn formats(name: &str) -> bool {
    ["4core3fmt", "core..fmt..", "3fmt7Display3fmt", "3fmt5Debug3fmt"]
        .iter()
        .any(|it| name.contains(it))
}

/// Whether a function panics, or gives up as memory ran out, and does nothing else.
fn panics(name: &str) -> bool {
    let names = [
        "4core9panicking",
        "panic_already",
        "13expect_failed",
        "13unwrap_failed",
        "13assert_failed",
        "7raw_vec12handle_error",
        "5alloc5alloc18handle_alloc_error",
    ];
    names.iter().any(|it| name.contains(it))
}

impl Reencode for Silencer {
    type Error = Infallible;

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> std::result::Result<(), Error> {
        if !self.silent.next().unwrap_or_default() {
            return utils::parse_function_body(self, code, body);
        }
        let mut function = Function::new([]);
        function.instructions().unreachable().end();
        code.function(&function);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_encoder::{FunctionSection, NameMap, NameSection, TypeSection};

    const FORMATS: &str = "_RNvNtCsgXGp5Oqx2Ny_4core3fmt5write";
    const PRINTS: &str = "_ZN58_$LT$wasm_bindgen..JsValue$u20$as$u20$core..fmt..Debug$GT$3fmt17h9E";

    const PANICS: &str = "_RNvNtCsgXGp5Oqx2Ny_4core9panicking9panic_fmt";

    /// A module of functions by these names, each of which calls one.
    fn module(functions: &[(&str, Option<u32>)]) -> Vec<u8> {
        let (mut types, mut section) = (TypeSection::new(), FunctionSection::new());
        let (mut code, mut names) = (CodeSection::new(), NameMap::new());
        types.ty().function([], []);
        for (at, (name, callee)) in (0..).zip(functions) {
            section.function(0);
            let mut function = Function::new([]);
            if let Some(callee) = callee {
                function.instructions().call(*callee);
            }
            function.instructions().end();
            code.function(&function);
            names.append(at, name);
        }
        let mut named = NameSection::new();
        named.functions(&names);
        let mut module = Module::new();
        module.section(&types).section(&section).section(&code).section(&named);
        module.finish()
    }

    /// Whether each function does nothing but trap.
    fn traps(module: &[u8]) -> Vec<bool> {
        let payloads =
            Parser::new(0).parse_all(module).map(|payload| payload.expect("it is valid"));
        let bodies = payloads.filter_map(|payload| match payload {
            Payload::CodeSectionEntry(body) => Some(body),
            _ => None,
        });
        let trap = |body: FunctionBody<'_>| {
            let mut operators = body.get_operators_reader().expect("it is valid");
            matches!(operators.read(), Ok(Operator::Unreachable))
        };
        bodies.map(trap).collect()
    }

    #[test]
    fn what_formats_or_panics_traps_and_nothing_else_does() {
        let functions = [
            ("serve", Some(1)),
            ("decode", Some(4)),
            (FORMATS, Some(1)),
            (PRINTS, Some(2)),
            (PANICS, Some(2)),
        ];
        let silent = silence(&module(&functions)).expect("nothing but a panic formats");
        assert_eq!(traps(&silent), [false, false, true, true, true]);
    }

    #[test]
    fn who_formats_is_named() {
        let error = silence(&module(&[("serve", Some(1)), (FORMATS, None)])).expect_err("it does");
        assert!(error.to_string().starts_with("serve formats text"), "{error}");
    }

    #[test]
    fn a_module_without_names_is_refused() {
        assert!(silence(&Module::new().finish()).is_err());
        assert!(silence(b"nothing").is_err());
    }
}
