// What the threads of a block say to one another, and the launch of a grid.
#include "engine.h"

#include <algorithm>
#include <cstdarg>
#include <cstring>
#include <numeric>

#ifdef GPUNET_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace gpunet_emulator {

namespace {

constexpr Size shared_limit = 48 * 1024;  // per block, on every GPU
constexpr Size fence = 64 * 1024;         // around a shared variable: an index that is out of bounds lands there
constexpr unsigned char garbage = 0xff;   // as a float NaN, as an integer -1

Word random_state;

unsigned random_below(unsigned limit) {  // splitmix64: Steele, Lea and Flood, 2014
    Word mixed = random_state += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return (unsigned)((mixed ^ mixed >> 31) % limit);
}

const char* name_of(Operation operation) {
    switch (operation) {
        case Operation::block_barrier: return "__syncthreads";
        case Operation::warp_barrier: return "__syncwarp";
        case Operation::shuffle: return "a shuffle";
        default: return "a vote";
    }
}

bool same(const Place& a, const Place& b) { return a.line == b.line && std::strcmp(a.file, b.file) == 0; }

// The running thread asks and waits; returns the answer.
Word ask(const Request& request) {
    Thread& self = running_thread();
    self.request = request;
    self.state = State::waiting;
    synchronised(request.operation, true);
    wait_until_ready();
    synchronised(request.operation, false);
    return self.result;
}

Word ask_warp(Operation operation, unsigned mask, Word value, int source_lane, Place place) {
    if (!(mask >> running_thread().lane & 1)) {
        stop(&place, nullptr, "lane %u calls %s with mask 0x%08x, which leaves it out", running_thread().lane,
             name_of(operation), mask);
    }
    return ask({operation, place, mask, value, source_lane});
}

}  // namespace

Launch launch;
Fault fault;
bool failed;
std::vector<Recorded> recorded;

namespace {

bool record(const Place* place, const void* instruction, const char* format, va_list values) {
    failed = true;
    fault.file = place ? place->file : nullptr;
    fault.line = place ? place->line : 0;
    fault.instruction = instruction;
    std::vsnprintf(fault.what, sizeof fault.what, format, values);
    return false;
}

// For a fault that is found while no thread runs.
bool fail(const Place& place, const char* format, ...) __attribute__((format(printf, 2, 3)));
bool fail(const Place& place, const char* format, ...) {
    va_list values;
    va_start(values, format);
    record(&place, nullptr, format, values);
    va_end(values);
    return false;
}

}  // namespace

void stop(const Place* place, const void* instruction, const char* format, ...) {
    va_list values;
    va_start(values, format);
    record(place, instruction, format, values);
    va_end(values);
    end_launch();
}

void arrange(std::vector<unsigned>& numbers) {
    std::iota(numbers.begin(), numbers.end(), 0u);
    if (launch.order == Order::backward) std::reverse(numbers.begin(), numbers.end());
    if (launch.order == Order::shuffled) {
        for (Size i = numbers.size(); i > 1; --i) std::swap(numbers[i - 1], numbers[random_below((unsigned)i)]);
    }
}

// ---------------------------------------------------------------- a block

void Block::begin(uint3 block_index) {
    const unsigned* size = launch.block;
    index = block_index;
    ++interval;
    threads.resize((Size)size[0] * size[1] * size[2]);
    for (unsigned i = 0; i < threads.size(); ++i) {
        threads[i] = Thread{};
        threads[i].index = {i % size[0], i / size[0] % size[1], i / size[0] / size[1]};
        threads[i].number = i;
        threads[i].warp = i / 32;
        threads[i].lane = i % 32;
    }
    for (SharedVariable& variable : shared) {  // what an earlier block has left there is not for this one
        std::memset(variable.begin, garbage, variable.bytes);
        variable.history.assign(variable.bytes, SharedByte{});
    }
}

SharedVariable* Block::find_shared(const void* key) {
    for (SharedVariable& variable : shared) {
        if (variable.key == key) return &variable;
    }
    return nullptr;
}

SharedVariable& Block::make_shared(const void* key, const char* name, Size bytes, Size element_bytes,
                                   Size alignment) {
    shared_bytes += bytes;
    const Size with_fences = fence + bytes + fence;
    const short number = (short)(-1 - (int)shared.size());
    shared.push_back(
        {key, name, bytes, element_bytes, alignment, number, nullptr, nullptr, std::vector<SharedByte>(bytes)});
    SharedVariable& made = shared.back();
    made.storage.reset(new char[with_fences]);
    char* const middle = made.storage.get() + fence;
    made.begin = middle - (uintptr_t)middle % 128;
    std::memset(made.begin, garbage, bytes);
#ifdef GPUNET_ASAN
    char *const first = made.storage.get(), *const end = made.begin + bytes;
    __asan_poison_memory_region(first, made.begin - first);
    __asan_poison_memory_region(end, first + with_fences - end);
#endif
    return made;
}

bool Block::release_waiting() {
    bool released = false;
    for (Size first = 0; first < threads.size(); first += 32) released |= release_warp(first);
    if (failed) return false;
    return released || release_block();
}

// Warp operations: a group goes on when all lanes of its mask that have not finished wait at the same place.
bool Block::release_warp(Size first) {
    bool released = false;
    const Size count = std::min<Size>(32, threads.size() - first);
    Thread* const lanes = &threads[first];
    for (Size self = 0; self < count; ++self) {
        if (lanes[self].state != State::waiting || lanes[self].request.operation == Operation::block_barrier) continue;
        const Request request = lanes[self].request;
        unsigned arrived = 0, votes = 0;
        bool complete = true;
        for (Size i = 0; i < count; ++i) {
            const Thread& other = lanes[i];
            if (!(request.mask >> i & 1) || other.state == State::finished) continue;
            complete &= other.state == State::waiting && other.request.operation == request.operation &&
                        other.request.mask == request.mask && same(other.request.place, request.place);
            arrived |= 1u << i;
            votes |= (unsigned)(other.request.value & 1) << i;
        }
        if (!complete) continue;
        for (Size i = 0; i < count; ++i) {
            if (!(arrived >> i & 1)) continue;
            Thread& other = lanes[i];
            if (request.operation == Operation::ballot) other.result = votes;
            if (request.operation == Operation::warp_barrier) ++other.warp_barriers;
            if (request.operation == Operation::shuffle) {
                const int source = other.request.source_lane;
                if (source < 0 || source > 31 || !(arrived >> source & 1)) {
                    const char* why = source < 0 || source > 31           ? "there is no such lane"
                                      : !(request.mask >> source & 1)     ? "the mask leaves that lane out"
                                      : (Size)source >= count             ? "the block has no such thread"
                                                                          : "that lane has finished";
                    return fail(request.place, "lane %u shuffles in a value from lane %d, but %s (mask 0x%08x)",
                                other.lane, source, why, request.mask);
                }
                other.result = lanes[source].request.value;
            }
        }
        for (Size i = 0; i < count; ++i) {
            if (arrived >> i & 1) lanes[i].state = State::ready;
        }
        released = true;
    }
    return released;
}

// The block's barrier: all threads must have come to the same one.
bool Block::release_block() {
    Size waiting = 0, finished = 0, votes = 0;
    const Thread* first = nullptr;
    for (const Thread& thread : threads) {
        if (thread.state == State::finished) {
            ++finished;
        } else if (thread.request.operation != Operation::block_barrier) {
            return explain_deadlock();
        } else {
            if (!first) first = &thread;
            const Place &place = thread.request.place, &expected = first->request.place;
            if (!same(place, expected)) {
                return fail(place,
                            "divergent barrier: thread %u waits at this __syncthreads, thread %u at the one in line %d",
                            thread.number, first->number, expected.line);
            }
            ++waiting;
            votes += thread.request.value & 1;
        }
    }
    if (!waiting) return false;  // all have finished
    if (finished) {
        return fail(first->request.place,
                    "divergent barrier: %zu threads wait at this __syncthreads, but %zu have finished without it",
                    (size_t)waiting, (size_t)finished);
    }
    ++interval;
    for (Thread& thread : threads) {
        thread.result = votes;
        thread.state = State::ready;
    }
    return true;
}

// Somebody waits in a warp operation that can never be complete.
bool Block::explain_deadlock() {
    for (const Thread& thread : threads) {
        const Request& request = thread.request;
        if (thread.state != State::waiting || request.operation == Operation::block_barrier) continue;
        for (const Thread& other : threads) {
            if (other.warp != thread.warp || other.state != State::waiting) continue;
            if (!(request.mask >> other.lane & 1)) continue;
            const Request& its = other.request;
            if (its.operation != request.operation || !same(its.place, request.place)) {
                return fail(request.place,
                            "divergent warp: lane %u of warp %u waits at %s for lane %u, which waits at %s in line %d",
                            thread.lane, thread.warp, name_of(request.operation), other.lane, name_of(its.operation),
                            its.place.line);
            }
            if (its.mask != request.mask) {
                return fail(request.place,
                            "wrong mask: lane %u of warp %u calls %s with mask 0x%08x, lane %u with 0x%08x",
                            thread.lane, thread.warp, name_of(request.operation), request.mask, other.lane, its.mask);
            }
        }
    }
    return false;
}

// ---------------------------------------------------------------- what a kernel calls

uint3 thread_index() { return running_thread().index; }
uint3 block_index() { return running_block().index; }
dim3 block_size() { return {launch.block[0], launch.block[1], launch.block[2]}; }
dim3 grid_size() { return {launch.grid[0], launch.grid[1], launch.grid[2]}; }
unsigned lane() { return running_thread().lane; }

unsigned sync_block(bool predicate, Place place) {
    return (unsigned)ask({Operation::block_barrier, place, 0xffffffffu, predicate, 0});
}
void sync_warp(unsigned mask, Place place) { ask_warp(Operation::warp_barrier, mask, 0, 0, place); }
Word exchange(unsigned mask, Word value, int source_lane, Place place) {
    return ask_warp(Operation::shuffle, mask, value, source_lane, place);
}
unsigned ballot(unsigned mask, bool predicate, Place place) {
    return (unsigned)ask_warp(Operation::ballot, mask, predicate, 0, place);
}

void* static_shared(const void* key, const char* name, Size bytes, Size element_bytes, Size alignment) {
    Block& block = running_block();
    enter_shared();
    SharedVariable* variable = block.find_shared(key);
    const bool make = !variable;
    if (make) variable = &block.make_shared(key, name, bytes, element_bytes, alignment);
    leave_shared(variable, make);
    if (block.shared_bytes > shared_limit) {
        stop(nullptr, __builtin_return_address(0), "a block has %zu bytes of shared memory; with %s it uses %zu",
             (size_t)shared_limit, name, (size_t)block.shared_bytes);
    }
    return variable->begin;
}

void* dynamic_shared(const char* name, Size element_bytes, Size alignment) {
    static const char key = 0;  // all names of it stand for the same memory
    return static_shared(&key, name, launch.dynamic_shared_bytes, element_bytes, alignment);
}

static bool exchange_if(void* address, Size bytes, Word expected, Word desired) {
    if (bytes == 4) {
        unsigned before = (unsigned)expected;
        return __atomic_compare_exchange_n((unsigned*)address, &before, (unsigned)desired, false, __ATOMIC_RELAXED,
                                           __ATOMIC_RELAXED);
    }
    return __atomic_compare_exchange_n((Word*)address, &expected, desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

Word atomic_load(const void* address, Size bytes) {
    check_atomic(address, bytes, __builtin_return_address(0));
    if (bytes == 4) return __atomic_load_n((const unsigned*)address, __ATOMIC_RELAXED);
    return __atomic_load_n((const Word*)address, __ATOMIC_RELAXED);
}

bool atomic_exchange_if(void* address, Size bytes, Word expected, Word desired) {
    before_atomic(address);
    const bool exchanged = exchange_if(address, bytes, expected, desired);
    after_atomic(address);
    return exchanged;
}

}  // namespace gpunet_emulator

// ---------------------------------------------------------------- what the launcher calls

// Run a grid. Returns null, or the fault that ended it.
extern "C" __attribute__((visibility("default"))) const gpunet_emulator::Fault* gpunet_launch(
    const gpunet_emulator::Launch* asked) {
    using namespace gpunet_emulator;
    launch = *asked;
    failed = false;
    random_state = asked->seed;
    recorded.clear();
    run_grid();
    return failed ? &fault : nullptr;
}

// The accesses of the last launch, where it asked for them.
extern "C" __attribute__((visibility("default"))) const gpunet_emulator::Recorded* gpunet_recorded(
    gpunet_emulator::Size* count) {
    *count = gpunet_emulator::recorded.size();
    return gpunet_emulator::recorded.data();
}
