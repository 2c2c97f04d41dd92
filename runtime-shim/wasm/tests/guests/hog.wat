;; WASI 0.1: takes memory, a page at a time, until it is stopped.
(module
  (memory (export "memory") 1)
  (func (export "_start") (loop $more (drop (memory.grow (i32.const 1))) (br $more))))
