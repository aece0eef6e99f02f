// A fiber: a stack of its own and a place in a program. Switching to another is a matter of a few registers.
#pragma once
#include <cstdlib>

#include "interface.h"

#if !defined(__x86_64__) || defined(__APPLE__) || defined(_WIN32)
#define GPUNET_UCONTEXT  // the portable way, which asks the operating system at every switch
#endif
#ifdef GPUNET_UCONTEXT
#include <ucontext.h>
#endif
#ifdef GPUNET_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace gpunet_emulator {

#ifdef GPUNET_ASAN
constexpr Size stack_bytes = 1024 * 1024;  // its frames are larger
#else
constexpr Size stack_bytes = 256 * 1024;
#endif

#ifndef GPUNET_UCONTEXT
// Push the registers that a function must keep, exchange stacks, pop: returns on the other stack.
extern "C" void gpunet_switch_stack(void** save_here, void* go_there);
asm(R"(
    .text
    .p2align 4
    .type gpunet_switch_stack, @function
    .hidden gpunet_switch_stack
gpunet_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size gpunet_switch_stack, . - gpunet_switch_stack
)");
#endif

class Fiber {
public:
    Fiber() = default;  // the place where the program is: a fiber to come back to
    explicit Fiber(void (*entry)()) : stack_((char*)std::malloc(stack_bytes)), entry_(entry) {
        if (!stack_) std::abort();
        prepare();
    }
    ~Fiber() { std::free(stack_); }
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    const char* stack_begin() const { return stack_; }
    const char* stack_end() const { return stack_ + stack_bytes; }

    // Forget where the fiber was; the next switch to it calls its entry, which must never return.
    void restart() {
#ifdef GPUNET_ASAN
        __asan_unpoison_memory_region(stack_, stack_bytes);  // the frames that were left there
        fake_stack_ = nullptr;
#endif
        prepare();
    }

    // Go from this fiber to another, and come back when somebody switches here.
    void switch_to(Fiber& other) {
#ifdef GPUNET_ASAN
        __sanitizer_start_switch_fiber(&fake_stack_, other.known_begin_ ? other.known_begin_ : other.stack_,
                                       other.known_begin_ ? other.known_bytes_ : stack_bytes);
        came_from = this;
#endif
#ifdef GPUNET_UCONTEXT
        swapcontext(&context_, &other.context_);
#else
        gpunet_switch_stack(&top_, other.top_);
#endif
        arrived();
    }

    // The first thing that the entry of a fiber calls.
    void arrived() {
#ifdef GPUNET_ASAN
        __sanitizer_finish_switch_fiber(fake_stack_, &came_from->known_begin_, &came_from->known_bytes_);
#endif
    }

private:
    void prepare() {
#ifdef GPUNET_UCONTEXT
        getcontext(&context_);
        context_.uc_stack.ss_sp = stack_;
        context_.uc_stack.ss_size = stack_bytes;
        context_.uc_link = nullptr;
        makecontext(&context_, entry_, 0);
#else
        void** top = (void**)((Size)(stack_ + stack_bytes) / 16 * 16);
        *--top = nullptr;        // the entry finds the stack as a call would leave it
        *--top = (void*)entry_;  // where the first switch returns to
        for (int i = 0; i < 6; ++i) *--top = nullptr;
        top_ = top;
#endif
    }

    char* stack_ = nullptr;
    void (*entry_)() = nullptr;
#ifdef GPUNET_UCONTEXT
    ucontext_t context_;
#else
    void* top_ = nullptr;
#endif
#ifdef GPUNET_ASAN
    static inline Fiber* came_from = nullptr;
    void* fake_stack_ = nullptr;
    const void* known_begin_ = nullptr;  // of the stack, as the sanitizer tells
    size_t known_bytes_ = 0;
#endif
};

}  // namespace gpunet_emulator
