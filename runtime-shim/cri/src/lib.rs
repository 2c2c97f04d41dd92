//! The CRI server: sandboxes, images, streaming, choice of executor.
