// Runs every thread of the grid on a thread of the operating system, all blocks at once, under ThreadSanitizer: it then
// reports races in shared and in global memory, between threads of a block and between blocks. For small grids.
//
// This file is not instrumented, so the sanitizer does not see how the threads here wait for one another, which orders
// far more than CUDA does. It is told what CUDA promises, and no more: a barrier orders memory among those at it.
#include <atomic>
#include <thread>

#include "engine.h"

extern "C" void __tsan_acquire(const void* name);  // in the sanitizer's library
extern "C" void __tsan_release(const void* name);

namespace gpunet_emulator {

const char *stack_begin, *stack_end;

namespace {

struct ConcurrentBlock : Block {
    std::atomic<unsigned> running{0};  // threads that neither wait nor have finished
    std::deque<std::atomic<bool>> go;  // for each thread: whether it has been released
    std::atomic_flag looking_at_shared = ATOMIC_FLAG_INIT;
    char block_barrier[2], warp_barrier[32][2];  // only their addresses count: names of barriers for the sanitizer
};

thread_local ConcurrentBlock* block;
thread_local Thread* self;
thread_local unsigned block_barriers, warp_barriers;  // passed by this thread
thread_local bool fenced;                              // since its last atomic

// The calling thread stops running. The last one of the block to do so releases others.
void stop_running() {
    if (block->running.fetch_sub(1) != 1) return;
    if (!block->release_waiting()) {
        if (failed) end_launch();
        return;  // all have finished
    }
    std::vector<unsigned> ready;
    for (const Thread& thread : block->threads) {
        if (thread.state == State::ready) ready.push_back(thread.number);
    }
    block->running.store((unsigned)ready.size());
    for (unsigned number : ready) block->go[number].store(true);
}

void run_thread(ConcurrentBlock& its_block, Thread& thread) {
    block = &its_block;
    self = &thread;
    self->state = State::ready;
    launch.kernel(launch.values);
    self->state = State::finished;
    stop_running();
}

}  // namespace

Block& running_block() { return *block; }
Thread& running_thread() { return *self; }

void wait_until_ready() {
    std::atomic<bool>& released = block->go[self->number];
    stop_running();
    while (!released.load()) std::this_thread::yield();
    released.store(false);
}

void end_launch() {
    std::fprintf(stderr, "%s:%d: %s\n", fault.file ? fault.file : "?", fault.line, fault.what);
    std::fflush(stderr);
    std::_Exit(3);
}

// Two names take turns: a thread that is already at the next barrier must not be taken for one at this one.
void synchronised(Operation operation, bool before) {
    char* name = nullptr;
    if (operation == Operation::block_barrier) name = &block->block_barrier[block_barriers & 1];
    if (operation == Operation::warp_barrier) name = &block->warp_barrier[self->warp][warp_barriers & 1];
    if (!name) return;  // shuffles and votes order nothing
    if (before) {
        __tsan_release(name);
    } else {
        __tsan_acquire(name);
        ++(operation == Operation::block_barrier ? block_barriers : warp_barriers);
    }
}

// Between blocks CUDA orders memory by a fence and an atomic behind it: who then meets the atomic sees what was there
// before the fence.
void memory_fence() { fenced = true; }
void before_atomic(const void* address) {
    if (fenced) __tsan_release(address);
    fenced = false;
}
void after_atomic(const void* address) { __tsan_acquire(address); }

void enter_shared() {
    while (block->looking_at_shared.test_and_set()) std::this_thread::yield();
}
void leave_shared(SharedVariable* variable, bool made) {
    if (made) {
        __tsan_release(variable);  // it was cleared by this thread, before anybody has used it
    } else {
        __tsan_acquire(variable);
    }
    block->looking_at_shared.clear();
}

void run_grid() {
    const unsigned* grid = launch.grid;
    std::deque<ConcurrentBlock> blocks((Size)grid[0] * grid[1] * grid[2]);
    unsigned number = 0;
    for (ConcurrentBlock& each : blocks) {
        each.begin({number % grid[0], number / grid[0] % grid[1], number / grid[0] / grid[1]});
        each.running = (unsigned)each.threads.size();
        each.go.resize(each.threads.size());
        ++number;
    }
    std::vector<std::thread> threads;
    for (ConcurrentBlock& each : blocks) {
        for (Thread& thread : each.threads) threads.emplace_back(run_thread, std::ref(each), std::ref(thread));
    }
    for (std::thread& thread : threads) thread.join();
}

}  // namespace gpunet_emulator
