;; A chore as a WebAssembly module (WASI 0.1), in the text format: adds the numbers from 1 to 100000 and prints the sum.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd-write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 63) "\n")
  (func (export "_start")
    (local $n i64) (local $sum i64) (local $at i32)
    (local.set $n (i64.const 100000))
    (loop $next
      (local.set $sum (i64.add (local.get $sum) (local.get $n)))
      (local.set $n (i64.sub (local.get $n) (i64.const 1)))
      (br_if $next (i64.ne (local.get $n) (i64.const 0))))
    ;; Its digits, the last first, end before the new line at 63.
    (local.set $at (i32.const 63))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $sum) (i64.const 10)))))
      (local.set $sum (i64.div_u (local.get $sum) (i64.const 10)))
      (br_if $digit (i64.ne (local.get $sum) (i64.const 0))))
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (i32.sub (i32.const 64) (local.get $at)))
    (drop (call $fd-write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
