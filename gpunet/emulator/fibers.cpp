// Runs the threads of a block in turns, on fibers.
//
// A fiber takes one fresh thread after the other and runs it to its end. Where a thread has to wait, the fiber stays
// with it and another one goes on with the threads that are still fresh. So a kernel without barriers needs one fiber
// and no switch, however many threads it has.
#include "engine.h"
#include "fiber.h"

namespace gpunet_emulator {

const char *stack_begin, *stack_end;

namespace {

Block block;
Thread* running;
std::vector<unsigned> order;  // of the threads
Size next;                    // the place in `order` of the first thread that is still fresh

Fiber scheduler;  // switches to the fibers, and they back to it

struct Carrier {
    Fiber fiber;
    bool abandoned = false;  // it was left in the middle of a thread
    Carrier();
};

std::vector<std::unique_ptr<Carrier>> carriers;  // all that there are
std::vector<Carrier*> idle;
Carrier* active;

// What a fiber does for ever: run fresh threads, and step aside when there are no more.
void carry() {
    active->fiber.arrived();
    for (;;) {
        while (next < order.size()) {
            running = &block.threads[order[next++]];
            running->carrier = active;
            launch.kernel(launch.values);
            running->state = State::finished;
        }
        idle.push_back(active);
        active->fiber.switch_to(scheduler);
        // Somebody has switched here again: there are fresh threads, or this fiber's own thread has finished.
    }
}

Carrier::Carrier() : fiber(carry) {}

Carrier& idle_carrier() {
    if (idle.empty()) {
        carriers.push_back(std::make_unique<Carrier>());
        return *carriers.back();
    }
    Carrier* carrier = idle.back();
    idle.pop_back();
    if (carrier->abandoned) carrier->fiber.restart();
    carrier->abandoned = false;
    return *carrier;
}

void resume(Carrier& carrier) {
    active = &carrier;
    stack_begin = carrier.fiber.stack_begin();
    stack_end = carrier.fiber.stack_end();
    scheduler.switch_to(carrier.fiber);
}

void run_block() {
    order.resize(block.threads.size());
    arrange(order);
    next = 0;
    while (next < order.size() && !failed) resume(idle_carrier());
    while (!failed && block.release_waiting()) {
        if (launch.order == Order::shuffled) arrange(order);
        const Size count = next = order.size();
        for (Size i = 0; i < count && !failed; ++i) {
            Thread& thread = block.threads[order[i]];
            if (thread.state != State::ready) continue;
            running = &thread;
            resume(*(Carrier*)thread.carrier);
        }
    }
    if (!failed) return;
    idle.clear();  // threads have been left in the middle; nothing of theirs needs an end
    for (auto& carrier : carriers) {
        carrier->abandoned = true;
        idle.push_back(carrier.get());
    }
}

}  // namespace

Block& running_block() { return block; }
Thread& running_thread() { return *running; }
void wait_until_ready() { active->fiber.switch_to(scheduler); }
void end_launch() {
    active->fiber.switch_to(scheduler);
    std::abort();  // nobody switches back
}
void synchronised(Operation, bool) {}
void memory_fence() {}  // one block runs after the other
void before_atomic(const void*) {}
void after_atomic(const void*) {}
void enter_shared() {}
void leave_shared(SharedVariable*, bool) {}

void run_grid() {
    const unsigned* grid = launch.grid;
    block.shared.clear();
    block.shared_bytes = 0;
    std::vector<unsigned> blocks((Size)grid[0] * grid[1] * grid[2]);
    arrange(blocks);
    for (unsigned number : blocks) {
        block.begin({number % grid[0], number / grid[0] % grid[1], number / grid[0] / grid[1]});
        run_block();
        if (failed) return;
    }
}

}  // namespace gpunet_emulator
