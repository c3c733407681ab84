// Watches the shared memory of the kernels in a source, so that a missing barrier is an error in every run (shared_watch.hpp).
//
//   #include <mindgap/kernels/fiber_watch.hpp>
//
//   g++ -fsanitize=thread -g1 -c my_kernel_test.cpp       compiled so, and linked without
//
// The compiler then calls a function at each access to memory, which is a tool's where the thread sanitizer is linked and one of
// those below here. run_fibers() in that source reports a missing barrier as an Error that names kernel, byte, both threads, the
// barrier before them and, with -g1, the lines. Without -fsanitize=thread nothing is watched. Kernels run several times slower.
//
// Leaves out what memcpy() and memset() do, where the compiler leaves them as calls into the C library.
#pragma once

#include <mindgap/kernels/fiber_block.hpp>

namespace mindgap::detail {

// The watch does not watch itself.
[[gnu::always_inline, gnu::no_sanitize("thread")]] inline void watch(SharedWatch::Kind kind, const volatile void* where,
                                                                     i64 bytes, const void* from) {
  const void* const at = const_cast<const void*>(where);
  SharedWatch* const watch = SharedWatch::running;
  if (!watch || !watch->may_hold(at, bytes)) return;
  SharedWatch::running = nullptr;
  watch->touch(kind, at, bytes, from);
  SharedWatch::running = watch;
}

}  // namespace mindgap::detail

extern "C" {

#define MINDGAP_CALLBACK [[gnu::used, gnu::no_sanitize("thread"), gnu::optimize("O2")]] inline
#define MINDGAP_WATCH(kind, at, bytes) mindgap::detail::watch(mindgap::SharedWatch::kind, at, bytes, __builtin_return_address(0))

MINDGAP_CALLBACK void __tsan_init() { mindgap::SharedWatch::is_used = true; }
MINDGAP_CALLBACK void __tsan_func_entry(void* from) {
  mindgap::SharedWatch* const watch = mindgap::SharedWatch::running;
  if (!watch) return;
  mindgap::SharedWatch::running = nullptr;
  watch->enter(from);
  mindgap::SharedWatch::running = watch;
}
MINDGAP_CALLBACK void __tsan_func_exit(void*) {
  mindgap::SharedWatch* const watch = mindgap::SharedWatch::running;
  if (!watch) return;
  mindgap::SharedWatch::running = nullptr;
  watch->leave();
  mindgap::SharedWatch::running = watch;
}
MINDGAP_CALLBACK void __tsan_vptr_update(void* at, void*) { MINDGAP_WATCH(write, at, sizeof(void*)); }
MINDGAP_CALLBACK void __tsan_read_range(void* at, long bytes) { MINDGAP_WATCH(read, at, bytes); }
MINDGAP_CALLBACK void __tsan_write_range(void* at, long bytes) { MINDGAP_WATCH(write, at, bytes); }

#define MINDGAP_PLAIN(bytes)                                                                       \
  MINDGAP_CALLBACK void __tsan_read##bytes(void* at) { MINDGAP_WATCH(read, at, bytes); }           \
  MINDGAP_CALLBACK void __tsan_write##bytes(void* at) { MINDGAP_WATCH(write, at, bytes); }         \
  MINDGAP_CALLBACK void __tsan_unaligned_read##bytes(void* at) { MINDGAP_WATCH(read, at, bytes); } \
  MINDGAP_CALLBACK void __tsan_unaligned_write##bytes(void* at) { MINDGAP_WATCH(write, at, bytes); }
MINDGAP_PLAIN(1)
MINDGAP_PLAIN(2)
MINDGAP_PLAIN(4)
MINDGAP_PLAIN(8)
MINDGAP_PLAIN(16)

// Atomic accesses are made here: fibers of one thread make one at a time, other threads of the host may not.
#define MINDGAP_FETCH(bits, T, op)                                                       \
  MINDGAP_CALLBACK T __tsan_atomic##bits##_fetch_##op(volatile void* at, T value, int) { \
    MINDGAP_WATCH(atomic_write, at, sizeof(T));                                          \
    return __atomic_fetch_##op(static_cast<volatile T*>(at), value, __ATOMIC_SEQ_CST);   \
  }
#define MINDGAP_EXCHANGE_IF(bits, T, strength, is_weak)                                                                    \
  MINDGAP_CALLBACK bool __tsan_atomic##bits##_compare_exchange_##strength(volatile void* at, void* expected, T value, int, \
                                                                          int) {                                           \
    MINDGAP_WATCH(atomic_write, at, sizeof(T));                                                                            \
    return __atomic_compare_exchange_n(static_cast<volatile T*>(at), static_cast<T*>(expected), value, is_weak,            \
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                                                \
  }
#define MINDGAP_ATOMIC(bits, T)                                                        \
  MINDGAP_CALLBACK T __tsan_atomic##bits##_load(const volatile void* at, int) {        \
    MINDGAP_WATCH(atomic_read, at, sizeof(T));                                         \
    return __atomic_load_n(static_cast<const volatile T*>(at), __ATOMIC_SEQ_CST);      \
  }                                                                                    \
  MINDGAP_CALLBACK void __tsan_atomic##bits##_store(volatile void* at, T value, int) { \
    MINDGAP_WATCH(atomic_write, at, sizeof(T));                                        \
    __atomic_store_n(static_cast<volatile T*>(at), value, __ATOMIC_SEQ_CST);           \
  }                                                                                    \
  MINDGAP_CALLBACK T __tsan_atomic##bits##_exchange(volatile void* at, T value, int) { \
    MINDGAP_WATCH(atomic_write, at, sizeof(T));                                        \
    return __atomic_exchange_n(static_cast<volatile T*>(at), value, __ATOMIC_SEQ_CST); \
  }                                                                                    \
  MINDGAP_FETCH(bits, T, add)                                                          \
  MINDGAP_FETCH(bits, T, sub)                                                          \
  MINDGAP_FETCH(bits, T, and)                                                          \
  MINDGAP_FETCH(bits, T, or)                                                           \
  MINDGAP_FETCH(bits, T, xor)                                                          \
  MINDGAP_FETCH(bits, T, nand)                                                         \
  MINDGAP_EXCHANGE_IF(bits, T, strong, false)                                          \
  MINDGAP_EXCHANGE_IF(bits, T, weak, true)
MINDGAP_ATOMIC(8, unsigned char)
MINDGAP_ATOMIC(16, unsigned short)
MINDGAP_ATOMIC(32, unsigned int)
MINDGAP_ATOMIC(64, unsigned long)
MINDGAP_CALLBACK void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
MINDGAP_CALLBACK void __tsan_atomic_signal_fence(int) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }

#undef MINDGAP_ATOMIC
#undef MINDGAP_EXCHANGE_IF
#undef MINDGAP_FETCH
#undef MINDGAP_PLAIN
#undef MINDGAP_WATCH
#undef MINDGAP_CALLBACK
}
