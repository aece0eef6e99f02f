// The state of a running block, and what the parts of the engine know of each other:
//
//     engine.cpp         what threads say to one another: barriers, warp operations, shared memory; who may go on
//     fibers.cpp         runs the threads of a block in turns, on fibers: deterministic, in a chosen order
//     os_threads.cpp     or runs each on an operating system's thread, for ThreadSanitizer
//     memory_checks.cpp  follows every memory access of the kernel
//
// A program holds fibers.cpp or os_threads.cpp, and one grid runs at a time.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <vector>

#include "interface.h"

namespace gpunet_emulator {

enum class Order { forward, backward, shuffled };

struct Argument {  // the array that a pointer points into; empty for a scalar
    char* begin;
    Size bytes;
};

struct Launch {  // the layout is known to module.py
    void (*kernel)(void**);
    void** values;
    const Argument* arguments;
    Size argument_count;
    unsigned grid[3], block[3];
    Size dynamic_shared_bytes;
    Order order;
    unsigned seed;
    bool recording;  // whether accesses are kept
};

// One access to an array or to shared memory, as much of it as an instruction of a GPU moves; where the launch asks for
// them, all are kept.
struct Recorded {  // the layout is known to module.py
    const void* instruction;  // behind the access; a copy that takes several has the same one for all
    Size thread;              // its number in the grid
    Size offset;              // in the array, or in the variable
    unsigned bytes;
    short array;  // the number of the argument, or of the shared variable
    bool write;
};

// A broken rule. Its place is a file and a line, or the address of an instruction, which the caller turns into them.
struct Fault {
    char what[1024];
    const char* file;
    int line;
    const void* instruction;
};

// ---------------------------------------------------------------- threads

enum class State { fresh, ready, waiting, finished };
enum class Operation { block_barrier, warp_barrier, shuffle, ballot };

struct Request {  // what a thread waits for
    Operation operation;
    Place place;
    unsigned mask;     // the lanes that take part; all of them in a block barrier
    Word value;        // what the thread has to offer
    int source_lane;   // shuffle: whose value it wants
};

struct Thread {
    uint3 index;
    unsigned number, warp, lane;
    State state;
    Request request;
    Word result;
    unsigned warp_barriers;  // how many it has passed in this block
    void* carrier;           // the fiber that it runs on
};

// ---------------------------------------------------------------- shared memory

// The last access to a byte by one thread or, where `thread` and `warp` are `many`, by several since the last barrier.
struct Access {
    static constexpr int many = -1;
    unsigned interval;  // counts barriers of the block; 0 is none so far
    short thread, warp;
    unsigned warp_barriers;
};

struct SharedByte {
    bool written;
    Access write, read;
};

struct SharedVariable {
    const void* key;
    const char* name;
    Size bytes, element_bytes, alignment;
    short number;  // -1 for the first of the block, then -2, ...
    char* begin;
    std::unique_ptr<char[]> storage;  // the variable between two fences
    std::vector<SharedByte> history;
};

// ---------------------------------------------------------------- a block

struct Block {
    uint3 index;
    std::vector<Thread> threads;
    std::deque<SharedVariable> shared;  // grows without moving
    Size shared_bytes = 0;
    unsigned interval = 0;              // the block barriers passed, over all blocks that this object has been

    void begin(uint3 block_index);
    SharedVariable* find_shared(const void* key);
    SharedVariable& make_shared(const void* key, const char* name, Size bytes, Size element_bytes, Size alignment);
    // Let go on who can; call when no thread of the block runs. False if that is nobody although some have not
    // finished: then the fault says why.
    bool release_waiting();

private:
    bool release_warp(Size first);
    bool release_block();
    bool explain_deadlock();
};

extern Launch launch;  // the one in progress
extern Fault fault;    // the first of the launch
extern bool failed;
extern std::vector<Recorded> recorded;  // of the launch

// The numbers 0 to count - 1 in the order of the launch; a shuffled one differs from call to call.
void arrange(std::vector<unsigned>& numbers);

// Record a fault of the running thread, and end the launch.
[[noreturn]] void stop(const Place* place, const void* instruction, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

// ---------------------------------------------------------------- either of the two ways to run threads

Block& running_block();
Thread& running_thread();
void run_grid();
void wait_until_ready();        // the running thread's state is `waiting`
[[noreturn]] void end_launch();  // the running thread has met a fault
void synchronised(Operation operation, bool before);  // called on both sides of a wait
void before_atomic(const void* address);
void after_atomic(const void* address);
void enter_shared();                                  // around a look at the list of shared variables
void leave_shared(SharedVariable* variable, bool made);

// ---------------------------------------------------------------- memory checks

void check_atomic(const void* address, Size bytes, const void* instruction);
extern const char *stack_begin, *stack_end;  // of the running thread

}  // namespace gpunet_emulator
