;; WASI 0.1: does what no program may.
(module
  (memory (export "memory") 1)
  (func $oops unreachable)
  (func (export "_start") (call $oops)))
