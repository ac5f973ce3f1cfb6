//! From the texts of a schema and what it imports to resolved messages.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    UninterpretedOption,
};
use prost_reflect::{DescriptorPool, FileDescriptor};
use protox::file::File;

use super::super::{Reference, SchemaError, quotable};

/// The file that a text describes, with all that it imports.
pub(super) fn resolve(text: &str, references: &[Reference]) -> Result<FileDescriptor, SchemaError> {
    let by_name: HashMap<&str, &str> =
        references.iter().map(|reference| (&*reference.name, &*reference.text)).collect();
    let well_known = DescriptorPool::global();
    let mut files = vec![read(MAIN, text)?];
    let mut done = 0;
    while let Some(file) = files.get_mut(done) {
        done = done.saturating_add(1);
        let wanted = keep_imports(file, |name| {
            by_name.contains_key(name)
                || built_in(name).is_some()
                || well_known.get_file_by_name(name).is_some()
        });
        for name in wanted {
            if files.iter().any(|file| file.name() == name) {
                continue;
            }
            if let Some(text) = by_name.get(&*name).copied().or_else(|| built_in(&name)) {
                files.push(read(&name, text)?);
            } else if let Some(file) = well_known.get_file_by_name(&name) {
                files.push(file.file_descriptor_proto().clone());
            }
        }
    }
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_protos(files).map_err(|error| wrong(&error.to_string()))?;
    pool.get_file_by_name(MAIN).ok_or_else(|| wrong("the file is not there"))
}

/// Reads one file: its text, or its descriptor in base64, which is how some clients register it.
fn read(name: &str, text: &str) -> Result<FileDescriptorProto, SchemaError> {
    let file = match STANDARD.decode(text.trim()) {
        Ok(bytes) if !bytes.is_empty() => File::decode_file_descriptor_proto(bytes.as_slice())
            .map_err(|error| wrong(&error.to_string()))?,
        _ => File::from_source(name, text).map_err(|error| wrong(&error.to_string()))?,
    };
    let mut file = FileDescriptorProto::from(file);
    file.name = Some(name.to_owned());
    file.options = None;
    file.service.clear();
    file.source_code_info = None;
    file.message_type.iter_mut().for_each(clean_message);
    file.enum_type.iter_mut().for_each(clean_enum);
    file.extension.iter_mut().for_each(clean_field);
    Ok(file)
}

/// Drops the imports that nobody has, and returns the others. A type that is missed then is an
/// error; most that are dropped define options.
fn keep_imports(file: &mut FileDescriptorProto, is_there: impl Fn(&str) -> bool) -> Vec<String> {
    let all = std::mem::take(&mut file.dependency);
    let public = std::mem::take(&mut file.public_dependency);
    file.weak_dependency.clear();
    for (index, name) in all.into_iter().enumerate() {
        if !is_there(&name) {
            continue;
        }
        let is_public = public.iter().any(|public| usize::try_from(*public) == Ok(index));
        if is_public && let Ok(kept) = i32::try_from(file.dependency.len()) {
            file.public_dependency.push(kept);
        }
        file.dependency.push(name);
    }
    file.dependency.clone()
}

/// Recurs as deep as messages nest: 31 levels in text, 100 in a descriptor, by its reader.
fn clean_message(message: &mut DescriptorProto) {
    if let Some(options) = &mut message.options {
        clean(&mut options.uninterpreted_option);
    }
    message.field.iter_mut().for_each(clean_field);
    message.extension.iter_mut().for_each(clean_field);
    message.enum_type.iter_mut().for_each(clean_enum);
    message.oneof_decl.iter_mut().for_each(|oneof| oneof.options = None);
    message.extension_range.iter_mut().for_each(|range| range.options = None);
    message.nested_type.iter_mut().for_each(clean_message);
}

fn clean_field(field: &mut FieldDescriptorProto) {
    if let Some(options) = &mut field.options {
        clean(&mut options.uninterpreted_option);
    }
}

fn clean_enum(definition: &mut EnumDescriptorProto) {
    if let Some(options) = &mut definition.options {
        clean(&mut options.uninterpreted_option);
    }
    definition.value.iter_mut().for_each(|value| value.options = None);
}

/// Keeps the options of the language itself.
fn clean(options: &mut Vec<UninterpretedOption>) {
    options.retain(|option| {
        let [name] = option.name.as_slice() else { return false };
        !name.is_extension && option.aggregate_value.is_none()
    });
}

/// Files that writers know without being given them.
fn built_in(name: &str) -> Option<&'static str> {
    match name {
        "confluent/type/decimal.proto" => Some(
            "syntax = \"proto3\"; package confluent.type; \
             message Decimal { bytes value = 1; int32 precision = 2; int32 scale = 3; }",
        ),
        _ => None,
    }
}

fn wrong(reason: &str) -> SchemaError {
    SchemaError::Protobuf { reason: quotable(reason) }
}

/// No schema is imported under this name.
const MAIN: &str = "\u{1}main.proto";
