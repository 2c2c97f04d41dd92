//! The vocabulary of both sides of the wire: values, kinds, validation, patches, codecs. No IO, no clock.
