;; A web service as a WebAssembly component, in the text format: it needs no compiler but Wherry's own.
;;
;; It is for the world wasi:http/proxy: the host calls `handle` with each request, on a fresh instance. Whatever is asked,
;; the answer is 200 with the text of the environment variable GREETING, which the example's ConfigMap sets.
;; In a language with a toolchain the same program has ten lines; here every call is written out as the
;; canonical ABI has it (https://github.com/WebAssembly/component-model).
(component $guest
  ;; What the guest uses of its host: WIT interfaces, cut down to the functions that are called.
  (import "wasi:cli/environment@0.2.0" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))))
  (import "wasi:io/error@0.2.0" (instance $io-error
    (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $output-stream (sub resource)))
    (alias outer $guest $error (type $error))
    (type $stream-error-cases (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error-cases)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $output-stream)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output-stream))
  (import "wasi:http/types@0.2.0" (instance $types
    (alias outer $guest $output-stream (type $output-stream))
    (export "incoming-request" (type (sub resource)))
    (export "fields" (type $fields (sub resource)))
    (export "outgoing-response" (type $outgoing-response (sub resource)))
    (export "outgoing-body" (type $outgoing-body (sub resource)))
    (export "response-outparam" (type $response-outparam (sub resource)))
    (type $header-error-cases (variant (case "invalid-syntax") (case "forbidden") (case "immutable")))
    (export "header-error" (type $header-error (eq $header-error-cases)))
    (type $dns-fields (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns (eq $dns-fields)))
    (type $alert-fields (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $alert (eq $alert-fields)))
    (type $size-fields (record (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $size (eq $size-fields)))
    (type $error-cases (variant
      (case "DNS-timeout") (case "DNS-error" $dns) (case "destination-not-found") (case "destination-unavailable")
      (case "destination-IP-prohibited") (case "destination-IP-unroutable") (case "connection-refused")
      (case "connection-terminated") (case "connection-timeout") (case "connection-read-timeout")
      (case "connection-write-timeout") (case "connection-limit-reached") (case "TLS-protocol-error")
      (case "TLS-certificate-error") (case "TLS-alert-received" $alert) (case "HTTP-request-denied")
      (case "HTTP-request-length-required") (case "HTTP-request-body-size" (option u64))
      (case "HTTP-request-method-invalid") (case "HTTP-request-URI-invalid") (case "HTTP-request-URI-too-long")
      (case "HTTP-request-header-section-size" (option u32)) (case "HTTP-request-header-size" (option $size))
      (case "HTTP-request-trailer-section-size" (option u32)) (case "HTTP-request-trailer-size" $size)
      (case "HTTP-response-incomplete") (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $size) (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32)) (case "HTTP-response-trailer-size" $size)
      (case "HTTP-response-transfer-coding" (option string)) (case "HTTP-response-content-coding" (option string))
      (case "HTTP-response-timeout") (case "HTTP-upgrade-failed") (case "HTTP-protocol-error") (case "loop-detected")
      (case "configuration-error") (case "internal-error" (option string))))
    (export "error-code" (type $error-code (eq $error-cases)))
    (export "[static]fields.from-list" (func
      (param "entries" (list (tuple string (list u8)))) (result (result (own $fields) (error $header-error)))))
    (export "[constructor]outgoing-response" (func (param "headers" (own $fields)) (result (own $outgoing-response))))
    (export "[method]outgoing-response.body" (func
      (param "self" (borrow $outgoing-response)) (result (result (own $outgoing-body)))))
    (export "[method]outgoing-body.write" (func
      (param "self" (borrow $outgoing-body)) (result (result (own $output-stream)))))
    (export "[static]outgoing-body.finish" (func
      (param "this" (own $outgoing-body)) (param "trailers" (option (own $fields))) (result (result (error $error-code)))))
    (export "[static]response-outparam.set" (func
      (param "param" (own $response-outparam))
      (param "response" (result (own $outgoing-response) (error $error-code)))))))
  (alias export $types "incoming-request" (type $incoming-request))
  (alias export $types "response-outparam" (type $response-outparam))

  ;; The guest's memory, and where the host puts what it returns. An instance lives for one request: nothing is freed.
  (core module $memory
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (block $enough
        (loop $more
          (br_if $enough (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
          (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
          (br $more)))
      (memory.copy (local.get $at) (local.get $old) (local.get $old-size))
      (local.get $at)))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))

  (core func $get-environment (canon lower (func $environment "get-environment") (memory $mem) (realloc $realloc)))
  (core func $fields-from-list (canon lower (func $types "[static]fields.from-list") (memory $mem)))
  (core func $response (canon lower (func $types "[constructor]outgoing-response")))
  (core func $response-body (canon lower (func $types "[method]outgoing-response.body") (memory $mem)))
  (core func $set (canon lower (func $types "[static]response-outparam.set") (memory $mem)))
  (core func $body-write (canon lower (func $types "[method]outgoing-body.write") (memory $mem)))
  (core func $finish (canon lower (func $types "[static]outgoing-body.finish") (memory $mem) (realloc $realloc)))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))
  (core func $drop-stream (canon resource.drop $output-stream))

  (core module $main
    (import "host" "memory" (memory 1))
    (import "host" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "host" "get-environment" (func $get-environment (param i32)))
    (import "host" "fields-from-list" (func $fields-from-list (param i32 i32 i32)))
    (import "host" "response" (func $response (param i32) (result i32)))
    (import "host" "response-body" (func $response-body (param i32 i32)))
    (import "host" "set" (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "body-write" (func $body-write (param i32 i32)))
    (import "host" "finish" (func $finish (param i32 i32 i32 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "drop-stream" (func $drop-stream (param i32)))

    ;; Below 256: results of calls. From 256: texts.
    (data (i32.const 256) "GREETING")
    (data (i32.const 272) "Hello from WebAssembly")
    (data (i32.const 320) "content-type")
    (data (i32.const 336) "text/plain; charset=utf-8")
    ;; The list of headers: pointer and length of the name and of the value.
    (data (i32.const 384) "\40\01\00\00\0c\00\00\00\50\01\00\00\19\00\00\00")

    ;; Whether the `length` bytes at `a` and `b` are the same.
    (func $same (param $a i32) (param $b i32) (param $length i32) (result i32)
      (block $differ
        (loop $next
          (if (i32.eqz (local.get $length)) (then (return (i32.const 1))))
          (br_if $differ (i32.ne (i32.load8_u (local.get $a)) (i32.load8_u (local.get $b))))
          (local.set $a (i32.add (local.get $a) (i32.const 1)))
          (local.set $b (i32.add (local.get $b) (i32.const 1)))
          (local.set $length (i32.sub (local.get $length) (i32.const 1)))
          (br $next)))
      (i32.const 0))

    ;; The value of GREETING, or the text that stands for it.
    (func $greeting (result i32 i32)
      (local $at i32) (local $left i32)
      (call $get-environment (i32.const 0))
      (local.set $at (i32.load (i32.const 0)))
      (local.set $left (i32.load (i32.const 4)))
      (block $none
        (loop $next
          (br_if $none (i32.eqz (local.get $left)))
          (if (i32.eq (i32.load offset=4 (local.get $at)) (i32.const 8)) (then
            (if (call $same (i32.load (local.get $at)) (i32.const 256) (i32.const 8)) (then
              (return (i32.load offset=8 (local.get $at)) (i32.load offset=12 (local.get $at)))))))
          (local.set $at (i32.add (local.get $at) (i32.const 16)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br $next)))
      (i32.const 272) (i32.const 22))

    ;; The text with a newline at its end.
    (func $line (param $text i32) (param $length i32) (result i32 i32)
      (local $copy i32)
      (local.set $copy (call $realloc (i32.const 0) (i32.const 0) (i32.const 1)
        (i32.add (local.get $length) (i32.const 1))))
      (memory.copy (local.get $copy) (local.get $text) (local.get $length))
      (i32.store8 (i32.add (local.get $copy) (local.get $length)) (i32.const 10))
      (local.get $copy) (i32.add (local.get $length) (i32.const 1)))

    ;; The handle of a result<own<T>> that was returned at 0.
    (func $handle-of-result (result i32)
      (if (i32.load8_u (i32.const 0)) (then unreachable))
      (i32.load (i32.const 4)))

    (func $write-all (param $stream i32) (param $at i32) (param $length i32)
      (local $piece i32)
      (loop $next
        ;; One call takes at most 4096 bytes.
        (local.set $piece (select (local.get $length) (i32.const 4096)
          (i32.lt_u (local.get $length) (i32.const 4096))))
        (call $write (local.get $stream) (local.get $at) (local.get $piece) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then unreachable))
        (local.set $at (i32.add (local.get $at) (local.get $piece)))
        (local.set $length (i32.sub (local.get $length) (local.get $piece)))
        (br_if $next (local.get $length))))

    (func (export "handle") (param $request i32) (param $out i32)
      (local $response i32) (local $body i32) (local $stream i32) (local $text i32) (local $length i32)
      (call $fields-from-list (i32.const 384) (i32.const 1) (i32.const 0))
      (local.set $response (call $response (call $handle-of-result)))
      (call $response-body (local.get $response) (i32.const 0))
      (local.set $body (call $handle-of-result))
      ;; result::ok(response); the rest are the flattened fields of an error that is not there.
      (call $set (local.get $out) (i32.const 0) (local.get $response)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $body-write (local.get $body) (i32.const 0))
      (local.set $stream (call $handle-of-result))
      (call $line (call $greeting))
      (local.set $length)
      (local.set $text)
      (call $write-all (local.get $stream) (local.get $text) (local.get $length))
      (call $drop-stream (local.get $stream))
      (call $finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then unreachable))))

  (core instance $main (instantiate $main (with "host" (instance
    (export "memory" (memory $mem))
    (export "realloc" (func $realloc))
    (export "get-environment" (func $get-environment))
    (export "fields-from-list" (func $fields-from-list))
    (export "response" (func $response))
    (export "response-body" (func $response-body))
    (export "set" (func $set))
    (export "body-write" (func $body-write))
    (export "finish" (func $finish))
    (export "write" (func $write))
    (export "drop-stream" (func $drop-stream))))))

  ;; What the guest is for its host.
  (func $handle (param "request" (own $incoming-request)) (param "response-out" (own $response-outparam))
    (canon lift (core func $main "handle")))
  (instance $incoming-handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $incoming-handler)))
