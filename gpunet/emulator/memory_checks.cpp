// Follows every memory access of a kernel.
//
// The kernel is compiled with -fsanitize=thread and parts of -fsanitize=undefined: the compiler then calls a function,
// with the address, before each access to memory, and another where an index, an alignment or an integer goes wrong.
// Those functions usually come from the sanitizers' libraries. Here they are written for CUDA instead: a kernel may
// touch the arrays it was given, the shared memory of its block, and its own stack, and nothing else.
//
// Where one of the real sanitizers is in charge (GPUNET_SANITIZED), nothing is left to do.
#include "engine.h"

#ifdef GPUNET_SANITIZED

void gpunet_emulator::check_atomic(const void*, Size, const void*) {}

#else

#include <dlfcn.h>

namespace gpunet_emulator {

namespace {

constexpr Size stack_margin = 96 * 1024;  // a frame as large as compiler.py allows, and a little for the engine
constexpr Size near = 64 * 1024;          // an address farther from all arrays than this is told as such

// ---------------------------------------------------------------- shared memory

const char* verb(bool write) { return write ? "writes" : "reads"; }
const char* past(bool write) { return write ? "has written" : "has read"; }

// Whether an earlier access may happen at the same time as one by this thread now, as both wait at nothing in between.
bool unordered(const Access& before, const Thread& now, unsigned interval) {
    if (before.interval != interval || before.thread == (short)now.number) return false;
    return before.warp != (short)now.warp || before.warp_barriers >= now.warp_barriers;
}

void note(Access& access, const Thread& now, unsigned interval) {
    const bool alone = access.interval != interval || access.thread == (short)now.number;
    const bool same_warp = access.interval != interval || access.warp == (short)now.warp;
    const int thread = alone ? (int)now.number : Access::many, warp = same_warp ? (int)now.warp : Access::many;
    access = {interval, (short)thread, (short)warp, now.warp_barriers};
}

void check_shared(SharedVariable& variable, Size offset, Size bytes, bool write, const void* instruction) {
    const Thread& thread = running_thread();
    const unsigned interval = running_block().interval;
    const Size element = offset / variable.element_bytes;
    for (SharedByte* byte = &variable.history[offset]; bytes--; ++byte) {
        if (!write && !byte->written) {
            stop(nullptr, instruction, "thread %u reads element %zu of shared memory %s, which nobody has written",
                 thread.number, (size_t)element, variable.name);
        }
        const bool after_write = unordered(byte->write, thread, interval);
        if (after_write || (write && unordered(byte->read, thread, interval))) {
            const Access& other = after_write ? byte->write : byte->read;
            char who[32] = "another thread";
            if (other.thread != Access::many) std::snprintf(who, sizeof who, "thread %d", other.thread);
            stop(nullptr, instruction,
                 "race: thread %u %s element %zu of shared memory %s, which %s %s, with no barrier in between",
                 thread.number, verb(write), (size_t)element, variable.name, who, past(after_write));
        }
        byte->written |= write;
        note(write ? byte->write : byte->read, thread, interval);
    }
}

// ---------------------------------------------------------------- where an address belongs

bool within(const char* address, Size bytes, const char* begin, Size size) {
    return address >= begin && bytes <= size && address - begin <= (std::ptrdiff_t)(size - bytes);
}

// Constants of the kernel's file lie in the library that this function lies in.
bool in_this_library(const char* address) {
    Dl_info here, there;
    const bool known = dladdr((void*)&in_this_library, &here) && dladdr((void*)address, &there);
    return known && here.dli_fbase == there.dli_fbase;
}

struct Nearest {
    char text[160] = "far from all of its arrays";
    Size distance = near;

    void consider(const char* address, const char* begin, Size size, const char* kind, const char* name) {
        const bool behind = address >= begin + size;
        const Size away = behind ? address - (begin + size) : address < begin ? begin - address : 0;
        if (away >= distance) return;
        distance = away;
        if (address >= begin && !behind) {
            std::snprintf(text, sizeof text, "across the end of %s %s, %zu bytes", kind, name, (size_t)size);
        } else {
            std::snprintf(text, sizeof text, "%zu bytes %s %s %s, %zu bytes", (size_t)away,
                          behind ? "behind the end of" : "before the start of", kind, name, (size_t)size);
        }
    }
};

[[noreturn]] void stop_out_of_bounds(const char* address, Size bytes, bool write, const void* instruction) {
    Nearest nearest;
    for (const SharedVariable& variable : running_block().shared) {
        nearest.consider(address, variable.begin, variable.bytes, "shared memory", variable.name);
    }
    for (Size i = 0; i < launch.argument_count; ++i) {
        char number[24];
        std::snprintf(number, sizeof number, "%zu", (size_t)i);
        if (launch.arguments[i].begin) {
            nearest.consider(address, launch.arguments[i].begin, launch.arguments[i].bytes, "argument", number);
        }
    }
    stop(nullptr, instruction, "out of bounds: thread %u %s %zu bytes %s", running_thread().number, verb(write),
         (size_t)bytes, nearest.text);
}

SharedVariable* shared_at(const char* address, Size bytes) {
    for (SharedVariable& variable : running_block().shared) {
        if (within(address, bytes, variable.begin, variable.bytes)) return &variable;
    }
    return nullptr;
}

// ---------------------------------------------------------------- what is recorded

// A GPU moves 1, 2, 4, 8 or 16 bytes at once, from a multiple of that, and a compiler goes by what a type promises.
void record(int array, Size offset, Size bytes, Size alignment, bool write, const void* instruction) {
    if (!launch.recording) return;
    const Size all = bytes | offset | alignment | 16, piece = all & -all;
    const Block& block = running_block();
    const Size number = ((Size)block.index.z * launch.grid[1] + block.index.y) * launch.grid[0] + block.index.x;
    const Size thread = number * block.threads.size() + running_thread().number;
    for (Size done = 0; done < bytes; done += piece) {
        recorded.push_back({instruction, thread, offset + done, (unsigned)piece, (short)array, write});
    }
}

// Whether it is in an array; if so, the access is recorded.
bool in_an_argument(const char* address, Size bytes, bool write, const void* instruction) {
    for (Size i = 0; i < launch.argument_count; ++i) {
        const Argument& argument = launch.arguments[i];
        if (!within(address, bytes, argument.begin, argument.bytes)) continue;
        record((int)i, address - argument.begin, bytes, 16, write, instruction);
        return true;
    }
    return false;
}

}  // namespace

void check_access(const void* memory, Size bytes, bool write, const void* instruction) {
    const char* address = (const char*)memory;
    if (in_an_argument(address, bytes, write, instruction)) return;
    if (within(address, bytes, stack_begin, stack_end - stack_begin)) return;
    if (SharedVariable* variable = shared_at(address, bytes)) {
        const Size offset = address - variable->begin;
        check_shared(*variable, offset, bytes, write, instruction);
        return record(variable->number, offset, bytes, variable->alignment, write, instruction);
    }
    if (in_this_library(address)) return;
    stop_out_of_bounds(address, bytes, write, instruction);
}

// Atomics do not race with one another.
void check_atomic(const void* memory, Size bytes, const void* instruction) {
    const char* address = (const char*)memory;
    if ((uintptr_t)address % bytes) {
        stop(nullptr, instruction,
             "misaligned: thread %u has an atomic on %zu bytes at an address that is no multiple of that",
             running_thread().number, (size_t)bytes);
    }
    if (in_an_argument(address, bytes, true, instruction)) return;
    SharedVariable* variable = shared_at(address, bytes);
    if (!variable) stop_out_of_bounds(address, bytes, true, instruction);
    const Size offset = address - variable->begin;
    if (!variable->history[offset].written) {
        const Size element = offset / variable->element_bytes;
        stop(nullptr, instruction,
             "thread %u has an atomic on element %zu of shared memory %s, which nobody has written",
             running_thread().number, (size_t)element, variable->name);
    }
    record(variable->number, offset, bytes, variable->alignment, true, instruction);
}

}  // namespace gpunet_emulator

using namespace gpunet_emulator;

// ---------------------------------------------------------------- called for -fsanitize=thread

#define GPUNET_READ(name, bytes) \
    void name(void* address) { check_access(address, bytes, false, __builtin_return_address(0)); }
#define GPUNET_WRITE(name, bytes) \
    void name(void* address) { check_access(address, bytes, true, __builtin_return_address(0)); }

extern "C" {
GPUNET_READ(__tsan_read1, 1)
GPUNET_READ(__tsan_read2, 2)
GPUNET_READ(__tsan_read4, 4)
GPUNET_READ(__tsan_read8, 8)
GPUNET_READ(__tsan_read16, 16)
GPUNET_READ(__tsan_unaligned_read2, 2)
GPUNET_READ(__tsan_unaligned_read4, 4)
GPUNET_READ(__tsan_unaligned_read8, 8)
GPUNET_READ(__tsan_unaligned_read16, 16)
GPUNET_WRITE(__tsan_write1, 1)
GPUNET_WRITE(__tsan_write2, 2)
GPUNET_WRITE(__tsan_write4, 4)
GPUNET_WRITE(__tsan_write8, 8)
GPUNET_WRITE(__tsan_write16, 16)
GPUNET_WRITE(__tsan_unaligned_write2, 2)
GPUNET_WRITE(__tsan_unaligned_write4, 4)
GPUNET_WRITE(__tsan_unaligned_write8, 8)
GPUNET_WRITE(__tsan_unaligned_write16, 16)

void __tsan_read_range(void* address, Size bytes) { check_access(address, bytes, false, __builtin_return_address(0)); }
void __tsan_write_range(void* address, Size bytes) { check_access(address, bytes, true, __builtin_return_address(0)); }

// Clang calls these instead of memcpy and its like.
void* __tsan_memcpy(void* to, const void* from, Size bytes) {
    check_access(from, bytes, false, __builtin_return_address(0));
    check_access(to, bytes, true, __builtin_return_address(0));
    return __builtin_memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, Size bytes) {
    check_access(from, bytes, false, __builtin_return_address(0));
    check_access(to, bytes, true, __builtin_return_address(0));
    return __builtin_memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, Size bytes) {
    check_access(to, bytes, true, __builtin_return_address(0));
    return __builtin_memset(to, value, bytes);
}

void __tsan_init() {}
void __tsan_func_exit() {}
void __tsan_func_entry(void* caller) {
    const char* here = (const char*)__builtin_frame_address(0);
    if (here < stack_begin + stack_margin && here >= stack_begin) {
        stop(nullptr, caller, "stack overflow: thread %u is too deep in functions that call functions",
             running_thread().number);
    }
}

// ---------------------------------------------------------------- called for -fsanitize=undefined

struct Source {  // each of these functions is told where, by a record that begins like this
    const char* file;
    unsigned line, column;
};

struct Misaligned {
    Source source;
    struct {
        unsigned short kind, info;
        char name[1];
    } const* type;
    unsigned char log_alignment, access;
};

#define GPUNET_STOP(source, ...) \
    do { \
        const Place place = {(source)->file, (int)(source)->line}; \
        stop(&place, nullptr, __VA_ARGS__); \
    } while (0)

void __ubsan_handle_type_mismatch_v1(const Misaligned* what, Size address) {
    const unsigned alignment = 1u << what->log_alignment;
    GPUNET_STOP(&what->source,
                "misaligned: thread %u accesses a value of type %s, which needs a multiple of %u, at an address %u "
                "beyond one",
                running_thread().number, what->type->name, alignment, (unsigned)(address % alignment));
}
void __ubsan_handle_out_of_bounds(const Source* source, Size index) {
    GPUNET_STOP(source, "out of bounds: thread %u uses index %lld, which the array does not have",
                running_thread().number, (long long)index);
}

#define GPUNET_ARITHMETIC(name, what) \
    void name(const Source* source, Size, Size) { \
        GPUNET_STOP(source, "thread %u computes " what, running_thread().number); \
    }
GPUNET_ARITHMETIC(__ubsan_handle_add_overflow, "a sum that overflows its integer type")
GPUNET_ARITHMETIC(__ubsan_handle_sub_overflow, "a difference that overflows its integer type")
GPUNET_ARITHMETIC(__ubsan_handle_mul_overflow, "a product that overflows its integer type")
GPUNET_ARITHMETIC(__ubsan_handle_divrem_overflow, "a division by zero, or one that overflows its integer type")
GPUNET_ARITHMETIC(__ubsan_handle_shift_out_of_bounds, "a shift by more bits than there are")
void __ubsan_handle_negate_overflow(const Source* source, Size) {
    GPUNET_STOP(source, "thread %u negates the smallest integer, which overflows", running_thread().number);
}
}

#endif
